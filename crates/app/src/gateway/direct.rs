//! Messages from one user to another over plain WebSocket.
use serde_json::{Map, Value, json};
use sockeye::Server;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    chat::{Chat, Direct, Group, PLAIN_NAMESPACE},
    identity::User,
};

/// Delivers a message to every device of its recipient. Returns the answer to the sender if that fails.
pub(super) fn handle(chat: &Chat, server: &Server, from: &User, message: &Message) -> Option<Message> {
    let Request { to, mut fields } = match Request::parse(message) {
        Ok(request) => request,
        Err(error) => return Some(json_message(&json!({ "error": error }))),
    };
    let data = sockeye::Value::from(Value::Object(fields.clone()));
    // All members are delivered to plain connections, so that they have to fit into the envelope as a message does.
    if let Err(error) = chat.check(&data, &[from.as_str()]) {
        return Some(json_message(&json!({ "error": error.to_string(), "to_user": to })));
    }
    let direct = Direct::new(from, data.get("message").cloned().unwrap_or_default());
    fields.insert("from".into(), json!(from));
    let sockets = chat.deliver_to_sockets(&server.of(PLAIN_NAMESPACE), &to, &direct);
    let delivered = sockets + chat.plain().send(&Group::User(to.clone()), &json_message(&Value::Object(fields)));
    (delivered == 0).then(|| {
        let error = format!("`{to}` is not connected, so the message was not delivered");
        json_message(&json!({ "error": error, "to_user": to }))
    })
}

fn json_message(value: &Value) -> Message {
    Message::text(value.to_string())
}

struct Request {
    to: User,
    fields: Map<String, Value>,
}

impl Request {
    fn parse(message: &Message) -> Result<Self, String> {
        let Message::Text(text) = message else {
            return Err("a message must be JSON text, not binary".into());
        };
        let fields = match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err(r#"a message must be an object such as {"message": "hello", "to_user": "bob"}"#.into()),
            Err(error) => return Err(format!("a message must be JSON: {error}")),
        };
        if !fields.contains_key("message") {
            return Err("the member `message` is missing".into());
        }
        let to = match fields.get("to_user") {
            Some(Value::String(name)) => {
                User::parse(name).map_err(|error| format!("`to_user` is not a user name: {error}"))?
            }
            Some(_) => return Err("the member `to_user` must be text".into()),
            None => return Err("the member `to_user` is missing".into()),
        };
        Ok(Self { to, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_a_message_and_a_user() {
        let request = Request::parse(&Message::text(r#"{"message": 7, "to_user": "bob", "id": 1}"#)).unwrap();
        assert_eq!((request.to.as_str(), request.fields.len()), ("bob", 3));
        let wrong = [
            ("hello", "JSON"),
            ("[]", "object"),
            (r#"{"to_user": "bob"}"#, "`message`"),
            (r#"{"message": ""}"#, "`to_user`"),
            (r#"{"message": "", "to_user": 7}"#, "`to_user`"),
            (r#"{"message": "", "to_user": "\u0000"}"#, "`to_user`"),
        ];
        for (text, named) in wrong {
            let error = Request::parse(&Message::text(text)).err().unwrap();
            assert!(error.contains(named), "{text}: {error}");
        }
        assert!(Request::parse(&Message::binary("{}")).is_err());
    }
}

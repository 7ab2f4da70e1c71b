use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::{OriginPolicy, headers::list};

/// What pages of other origins may do if the [`OriginPolicy`] admits them: the CORS headers of HTTP answers. A
/// preflight request (`OPTIONS`) is answered with status 204.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// The methods that a preflight answer allows. Default GET and POST, which a session needs.
    pub methods: Vec<Method>,
    /// The request headers that a preflight answer allows. Default `None`: those that the preflight request names.
    pub allowed_headers: Option<Vec<HeaderName>>,
    /// The answer headers that a page may read. Default none.
    pub exposed_headers: Vec<HeaderName>,
    /// Whether requests may carry cookies. Default true. With [`OriginPolicy::Any`] they never may.
    pub credentials: bool,
    /// How long a browser may cache a preflight answer. Default: the browser decides.
    pub max_age: Option<Duration>,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            methods: vec![Method::GET, Method::POST],
            allowed_headers: None,
            exposed_headers: Vec::new(),
            credentials: true,
            max_age: None,
        }
    }
}

impl Cors {
    /// Adds the CORS headers to the answer to a request whose origin is admitted.
    pub(crate) fn apply(&self, policy: &OriginPolicy, request: &HeaderMap, method: &Method, response: &mut HeaderMap) {
        let Some(origin) = request.get(header::ORIGIN) else { return };
        if matches!(policy, OriginPolicy::Any) {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response.append(header::VARY, HeaderValue::from_static("Origin"));
            if self.credentials {
                response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
        if !self.exposed_headers.is_empty() {
            insert_list(response, header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.exposed_headers);
        }
        if method != Method::OPTIONS {
            return;
        }
        insert_list(response, header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods);
        match &self.allowed_headers {
            Some(names) => insert_list(response, header::ACCESS_CONTROL_ALLOW_HEADERS, names),
            None => {
                let requested: Vec<_> = list(request, "access-control-request-headers").collect();
                if !requested.is_empty() {
                    insert_list(response, header::ACCESS_CONTROL_ALLOW_HEADERS, &requested);
                    response.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
                }
            }
        }
        if let Some(age) = self.max_age {
            response.insert(header::ACCESS_CONTROL_MAX_AGE, age.as_secs().into());
        }
    }
}

fn insert_list<T: AsRef<str>>(response: &mut HeaderMap, name: HeaderName, items: &[T]) {
    let list = items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(",");
    // Methods and header names consist of characters that a header's value may contain.
    if let Ok(value) = HeaderValue::try_from(list) {
        response.insert(name, value);
    }
}

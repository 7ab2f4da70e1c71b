use sockeye_engine::Sid;

/// One or several room names: a string, a socket's id, or an array, slice or vector of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a room",
    note = "a room is text: for a number, write `number.to_string()`; for several rooms, an array or a vector"
)]
pub trait IntoRooms {
    /// Calls `each` with every name.
    fn for_each_room(&self, each: &mut dyn FnMut(&str));
}

impl<T: IntoRooms + ?Sized> IntoRooms for &T {
    fn for_each_room(&self, each: &mut dyn FnMut(&str)) {
        (**self).for_each_room(each);
    }
}

impl IntoRooms for str {
    fn for_each_room(&self, each: &mut dyn FnMut(&str)) {
        each(self);
    }
}

impl IntoRooms for String {
    fn for_each_room(&self, each: &mut dyn FnMut(&str)) {
        each(self);
    }
}

impl IntoRooms for std::sync::Arc<str> {
    fn for_each_room(&self, each: &mut dyn FnMut(&str)) {
        each(self);
    }
}

impl IntoRooms for Sid {
    fn for_each_room(&self, each: &mut dyn FnMut(&str)) {
        each(self.as_str());
    }
}

impl<T: IntoRooms> IntoRooms for [T] {
    fn for_each_room(&self, each: &mut dyn FnMut(&str)) {
        for room in self {
            room.for_each_room(each);
        }
    }
}

impl<T: IntoRooms, const N: usize> IntoRooms for [T; N] {
    fn for_each_room(&self, each: &mut dyn FnMut(&str)) {
        self.as_slice().for_each_room(each);
    }
}

impl<T: IntoRooms> IntoRooms for Vec<T> {
    fn for_each_room(&self, each: &mut dyn FnMut(&str)) {
        self.as_slice().for_each_room(each);
    }
}

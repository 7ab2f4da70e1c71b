use std::{
    any::{Any, TypeId},
    fmt,
    sync::Arc,
};

use hashbrown::HashMap;

/// Values that are kept by their type, one of each.
#[derive(Clone, Default)]
pub struct Values(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Values {
    /// Keeps a value, and returns the one of its type that it replaces.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> Option<Arc<T>> {
        self.insert_shared(Arc::new(value))
    }

    /// Keeps a value that is shared already, and returns the one of its type that it replaces.
    pub fn insert_shared<T: Send + Sync + 'static>(&mut self, value: Arc<T>) -> Option<Arc<T>> {
        self.0.insert(TypeId::of::<T>(), value)?.downcast().ok()
    }

    /// The value of this type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.get(&TypeId::of::<T>())?.clone().downcast().ok()
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_value_of_each_type() {
        let mut values = Values::default();
        assert_eq!(values.insert(1_u8), None);
        assert_eq!(values.insert("text"), None);
        assert_eq!(values.insert(2_u8).as_deref(), Some(&1));
        assert_eq!(values.get::<u8>().as_deref(), Some(&2));
        assert_eq!(values.get::<&str>().as_deref(), Some(&"text"));
        assert_eq!(values.get::<u16>(), None);
    }
}

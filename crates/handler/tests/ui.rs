//! What the compiler says of wrong handlers: the messages name what is wrong and how to mend it.

#[test]
fn wrong_handlers_get_the_diagnosis_of_this_crate() {
    // The messages are those of the compiler the project is built with; after an update, look at them and run the test
    // with `TRYBUILD=overwrite`.
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/[!s]*.rs");
}

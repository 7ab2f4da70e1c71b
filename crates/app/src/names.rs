//! Names of users and rooms: which characters they may have, which names are the same, and which look the same.
use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use unicode_security::skeleton;

/// Whether a character is visible or a space. Invisible ones would let two names look the same: besides those that Unicode
/// says to ignore (`Default_Ignorable_Code_Point`), these are control characters, other white space, the blank Braille
/// pattern, and the specials, among them the replacement character, which stands for bytes that were not UTF-8.
pub(crate) fn is_printable(character: char) -> bool {
    match character {
        ' ' => true,
        '\u{2800}' | '\u{fff0}'..='\u{ffff}' => false,
        character if character.is_control() || character.is_whitespace() => false,
        character => !CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character),
    }
}

/// The form by which names are compared: `NFKC_Casefold` of Unicode, in which `Ａlice` and `ALICE` are `alice`. A printable
/// name has none of the characters that this form leaves out.
pub(crate) fn fold(name: &str) -> String {
    const CASES: CaseMapperBorrowed<'static> = CaseMapper::new();
    const FORM: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfkc();
    let once = FORM.normalize(&CASES.fold_string(name)).into_owned();
    FORM.normalize(&CASES.fold_string(&once)).into_owned()
}

/// What a name looks like: the skeletons of Unicode Technical Standard #39, of the name as it is written and of its folded
/// form. Two names look the same if they have one of them in common, such as `alice`, `aIice` with a capital I, and `аlice`
/// with a Cyrillic а.
pub(crate) fn looks(name: &str) -> [String; 2] {
    // The standard's table has capital letters, such as the O for a 0.
    [fold(&skeleton(name).collect::<String>()), fold(&skeleton(&fold(name)).collect::<String>())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_invisible_character_is_found() {
        let ignorable = "\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180b}\u{180e}\u{200b}\u{200d}\u{202e}\u{2060}\
                         \u{206f}\u{3164}\u{fe00}\u{fe0f}\u{feff}\u{ffa0}\u{fff0}\u{1bca0}\u{1d173}\u{e0001}\u{e0fff}";
        for character in ignorable.chars().chain("\0\n\t\u{7f}\u{85}\u{a0}\u{2028}\u{2800}\u{3000}\u{fffd}".chars()) {
            assert!(!is_printable(character), "{character:?}");
        }
        for character in " aß小🐟é\u{301}".chars() {
            assert!(is_printable(character), "{character:?}");
        }
    }

    #[test]
    fn names_that_differ_in_case_or_form_are_the_same() {
        for (one, other) in
            [("ALICE", "alice"), ("Ａlice", "alice"), ("Straße", "STRASSE"), ("e\u{301}", "É"), ("ﬁn", "fin")]
        {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
        assert_ne!(fold("alice"), fold("alicе"), "the last letter is Cyrillic");
    }

    #[test]
    fn names_that_look_the_same_are_found() {
        let look_the_same = |one: &str, other: &str| looks(one).iter().any(|look| looks(other).contains(look));
        for (one, other) in [
            ("alice", "аlice"),
            ("alice", "aIice"),
            ("alice", "ALICE"),
            ("b0b", "bob"),
            ("user1", "userl"),
            ("corn", "com"),
        ] {
            assert!(look_the_same(one, other), "{one} {other}");
        }
        for (one, other) in [("alice", "alicia"), ("user1", "user2"), ("小明", "小朋")] {
            assert!(!look_the_same(one, other), "{one} {other}");
        }
    }
}

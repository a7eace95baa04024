use super::*;

#[test]
fn comments_and_literals_are_blanked_and_code_stays() {
    let cases = [
        ("a // unsafe\nb", "a          \nb"),
        ("a /* x /* y */ z */ b", "a                   b"),
        (r#"f("un\"safe", 1)"#, r#"f("        ", 1)"#),
        ("let c = '\"'; d", "let c = ' '; d"),
        ("let c = '\\''; d", "let c = '  '; d"),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
        ("let x = 'x'; 'y: loop {}", "let x = ' '; 'y: loop {}"),
        (r##"r#"a "b" c"# + d"##, "                 + d".trim_start_matches("")),
        ("br\"{\" ; r#type", "      ; r#type"),
        ("b\"{\" b'{'", "b\" \" b' '"),
    ];
    for (source, masked) in cases {
        let got = mask(source);
        assert_eq!(got.len(), source.len(), "{source}");
        assert_eq!(got.trim_start(), masked.trim_start(), "{source}");
    }
}

#[test]
fn a_non_ascii_character_is_one_literal() {
    assert!(mask("let c = '√'; unsafe_code").contains("unsafe_code"));
    assert!(!mask("let c = '{';").contains('{'));
}

#[test]
fn functions_are_measured_from_their_word_to_their_brace() {
    let source = "pub fn a() { }\n\nimpl T {\n    fn b(&self, x: [u8; 4]) -> [f32; 2]\n    where\n        T: Copy,\n    {\n        let s = \"}\";\n        if x { y }\n    }\n}\ntrait U { fn c(&self); }\ntype F = fn(u8) -> u8;\n";
    let expect = [("a", 1, 1), ("b", 4, 7)];
    let got = functions(&mask(source));
    let got: Vec<_> = got.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
    assert_eq!(got, expect);
}

#[test]
fn a_nested_function_counts_for_itself_and_for_its_parent() {
    let got = functions("fn outer() {\n    fn inner() {\n    }\n}\n");
    assert_eq!(got.iter().map(|f| f.lines).collect::<Vec<_>>(), [4, 2]);
}

#[test]
fn test_ranges_cover_test_items_only() {
    let source = "fn a() { x }\n#[test]\n#[ignore]\nfn b() { y }\nfn c() { z }\n#[cfg(test)]\nmod tests { fn d() {} }\n#[cfg(not(test))]\nfn e() {}\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn g() {}\n#[derive(Debug)]\nstruct S;\n";
    let masked = mask(source);
    let text: Vec<&str> = test_ranges(&masked).into_iter().map(|range| &source[range]).collect();
    assert_eq!(text.len(), 3, "{text:?}");
    assert!(text[0].contains("fn b()") && !text[0].contains("fn c()"));
    assert!(text[1].ends_with("fn d() {} }"));
    assert!(text[2].ends_with("async fn g() {}"));
}

#[test]
fn test_modules_in_files_of_their_own_are_named() {
    let source = "mod a;\n#[cfg(test)]\nmod tests;\n#[cfg(all(test, unix))]\npub(crate) mod helpers;\n#[cfg(test)]\nmod inline { }\n";
    assert_eq!(test_modules(&mask(source)), ["tests", "helpers"]);
}

#[test]
fn words_are_whole() {
    assert_eq!(word_offsets("unsafe_code unsafe fn_unsafe unsafe", "unsafe"), [12, 29]);
}

#[test]
fn unfinished_source_does_not_stop_the_scanner() {
    for source in ["fn a() {", "\"abc", "'", "'\\", "/* x", "r#\"", "#[test", "#[cfg(test)]", "fn", "r"] {
        let masked = mask(source);
        let _ = (functions(&masked), test_ranges(&masked), test_modules(&masked));
        assert_eq!(masked.len(), source.len());
    }
}

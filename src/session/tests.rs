use super::*;

#[test]
fn only_the_handed_out_form_of_an_id_is_accepted() {
    let id = SessionId::random();
    assert_eq!(SessionId::parse(&id.expose()), Some(id));
    let upper = id.expose().to_uppercase();
    let simple = id.expose().replace('-', "");
    let braced = format!("{{{}}}", id.expose());
    for text in ["", "x", "0", simple.as_str(), braced.as_str()] {
        assert_eq!(SessionId::parse(text), None, "{text}");
    }
    assert_eq!(
        SessionId::parse(&upper),
        Some(id),
        "hex digits compare without case"
    );
    assert!(
        id.expose()
            .bytes()
            .all(|byte| (0x21..=0x7e).contains(&byte))
    );
}

#[test]
fn an_id_is_never_shown_whole() {
    let id = SessionId::random();
    assert_eq!(id.to_string().len(), 8);
    assert!(!format!("{id:?}").contains(&id.expose()));
}

//! JSON whose text does not depend on the order of members: a client may write them in another one
//! when it comes back.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Writes an object without white space, the members of each object in the order of the bytes of their
/// names.
pub fn write_object(text: &mut String, object: &Map<String, Value>) {
    let sorted: BTreeMap<_, _> = object.iter().collect();
    text.push('{');
    for (at, (key, value)) in sorted.into_iter().enumerate() {
        separate(text, at);
        text.push_str(&Value::from(key.as_str()).to_string());
        text.push(':');
        write(text, value);
    }
    text.push('}');
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Object(object) => write_object(text, object),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                separate(text, at);
                write(text, item);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn separate(text: &mut String, at: usize) {
    if at > 0 {
        text.push(',');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_members_does_not_matter_and_that_of_items_does() {
        let cases = [
            (json!({}), "{}"),
            (json!({"b": 1, "a": [2, 1]}), r#"{"a":[2,1],"b":1}"#),
            (
                json!({"é": null, "z": {"y": true, "x": "\"\n"}, "Z": 1.5}),
                r#"{"Z":1.5,"z":{"x":"\"\n","y":true},"é":null}"#,
            ),
        ];
        for (value, expected) in cases {
            let mut text = String::new();
            write_object(&mut text, value.as_object().unwrap());
            assert_eq!(text, expected);
        }
    }
}

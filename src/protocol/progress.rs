//! Progress: the token that asks for it, and the notification that carries it. The same in every
//! revision that is served.

use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::jsonrpc::{self, ErrorObject, MAX_ID_BYTES};
use super::mcp;

/// The longest string token, in bytes. A token is repeated in each notification.
pub const MAX_TOKEN_BYTES: usize = MAX_ID_BYTES;

/// What a request calls the progress that it wants to hear of. Only ever echoed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ProgressToken {
    /// An integer, as the client wrote it.
    Integer(Number),
    /// A string of at most [`MAX_TOKEN_BYTES`].
    String(String),
}

/// How far something has come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// How much is done, in any unit.
    pub progress: Number,
    /// How much there is to do, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Number>,
    /// What is being done, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ProgressToken {
    /// Reads `_meta.progressToken` of a request's params; `None` if it wants no progress.
    ///
    /// # Errors
    ///
    /// `-32602` for a token that is neither an integer nor a short string.
    pub fn read(params: &Map<String, Value>) -> Result<Option<Self>, ErrorObject> {
        let Some(token) = mcp::in_meta(params, "progressToken") else {
            return Ok(None);
        };
        match token {
            Value::Number(number) if !number.is_f64() => Ok(Some(Self::Integer(number.clone()))),
            Value::String(text) if text.len() <= MAX_TOKEN_BYTES => {
                Ok(Some(Self::String(text.clone())))
            }
            _ => Err(ErrorObject::invalid_params(format!(
                "Invalid params: \"progressToken\" must be an integer or a string of at most \
                 {MAX_TOKEN_BYTES} bytes"
            ))),
        }
    }

    /// Encodes `notifications/progress` as one line of compact JSON.
    pub fn notification(&self, progress: &Progress) -> Vec<u8> {
        #[derive(Serialize)]
        struct Params<'a> {
            #[serde(rename = "progressToken")]
            progress_token: &'a ProgressToken,
            #[serde(flatten)]
            progress: &'a Progress,
        }
        jsonrpc::encode_notification(
            "notifications/progress",
            &Params {
                progress_token: self,
                progress,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_are_echoed_as_they_came() {
        let longest = "x".repeat(MAX_TOKEN_BYTES);
        let tokens = [
            json!(7),
            json!(0),
            json!(-1),
            json!(u64::MAX),
            json!(i64::MIN),
            json!("7"),
            json!(""),
            json!("a\nb\u{2028}\""),
            json!(longest),
        ];
        for token in tokens {
            let params = json!({"_meta": {"progressToken": token}});
            let read = ProgressToken::read(params.as_object().unwrap());
            assert_eq!(json!(read.unwrap().unwrap()), token);
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let too_long = "x".repeat(MAX_TOKEN_BYTES + 1);
        let tokens = [
            json!(null),
            json!(true),
            json!(1.5),
            json!(1e300),
            json!([1]),
            json!({}),
            json!(too_long),
        ];
        for token in tokens {
            let params = json!({"_meta": {"progressToken": token}});
            let error = ProgressToken::read(params.as_object().unwrap()).unwrap_err();
            assert_eq!(error.code, jsonrpc::INVALID_PARAMS, "{token}");
        }
        for params in [json!({}), json!({"_meta": {}}), json!({"_meta": {"x": 1}})] {
            let read = ProgressToken::read(params.as_object().unwrap());
            assert_eq!(read.unwrap(), None, "{params}");
        }
    }

    #[test]
    fn a_notification_is_one_line_and_says_what_it_was_told() {
        let number = |text: &str| -> Number { serde_json::from_str(text).unwrap() };
        let cases = [
            (
                ProgressToken::Integer(7.into()),
                Progress {
                    progress: number("3"),
                    total: None,
                    message: None,
                },
                r#"{"progressToken":7,"progress":3}"#,
            ),
            (
                ProgressToken::String("a\"b".to_owned()),
                Progress {
                    progress: number("2.5"),
                    total: Some(number("10")),
                    message: Some("line\nbreak".to_owned()),
                },
                r#"{"progressToken":"a\"b","progress":2.5,"total":10,"message":"line\nbreak"}"#,
            ),
            (
                ProgressToken::Integer(0.into()),
                Progress {
                    progress: number("18446744073709551615"),
                    total: Some(number("-1")),
                    message: Some(String::new()),
                },
                r#"{"progressToken":0,"progress":18446744073709551615,"total":-1,"message":""}"#,
            ),
        ];
        for (token, progress, params) in cases {
            assert_eq!(
                String::from_utf8(token.notification(&progress)).unwrap(),
                format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#
                )
            );
        }
    }
}

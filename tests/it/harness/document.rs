//! The document of the HTTP interface, read: for tests that walk all calls.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use jsonschema::Validator;
use reqwest::Method;
use serde_json::Value;

use super::TestServer;
use super::rest::Answer;

/// The document, and what can be asked of it.
pub struct Document(pub Value, Validators);

/// By the text of their schema: to make one reads the whole document.
type Validators = RefCell<HashMap<String, Rc<Validator>>>;

/// One call of the document.
pub struct Operation<'a> {
    pub method: Method,
    pub path: &'a str,
    pub said: &'a Value,
}

impl Document {
    /// The document of this server.
    pub async fn of(server: &TestServer) -> Self {
        Self(server.get("/openapi.json", None).await.expect(200), Validators::default())
    }

    /// Its calls.
    pub fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().expect("paths");
        let all = paths.iter().flat_map(|(path, calls)| {
            calls.as_object().expect("calls").iter().map(move |(method, said)| Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path,
                said,
            })
        });
        all.collect()
    }

    /// A schema, with its first reference followed.
    pub fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(place) => {
                self.0.pointer(place.trim_start_matches('#')).unwrap_or_else(|| panic!("{place} is nowhere"))
            }
            None => schema,
        }
    }

    /// What a schema takes.
    pub fn validator(&self, schema: &Value) -> Rc<Validator> {
        let mut made = self.1.borrow_mut();
        let validator = made.entry(schema.to_string()).or_insert_with(|| {
            let mut root = schema.clone();
            root["components"] = self.0["components"].clone();
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            Rc::new(options.build(&root).unwrap_or_else(|error| panic!("{schema}: {error}")))
        });
        Rc::clone(validator)
    }

    /// The faults of a value by its schema.
    pub fn check(&self, what: &str, schema: &Value, value: &Value) -> Vec<String> {
        let validator = self.validator(schema);
        let errors = validator.iter_errors(value);
        errors.map(|error| format!("{what} {}: {error} in {value}", error.instance_path())).collect()
    }

    /// The example of a body, which stands beside it or in its schema.
    pub fn example<'a>(&'a self, content: &'a Value) -> Option<&'a Value> {
        let schema = self.resolved(&content["schema"]);
        [content.get("example"), schema.get("example"), schema.pointer("/examples/0")].into_iter().flatten().next()
    }

    /// The faults of an answer by the document of its call.
    pub fn check_answer(&self, operation: &Operation<'_>, answer: &Answer) -> Vec<String> {
        let status = answer.status.as_str();
        let responses = &operation.said["responses"];
        let described = responses.get(status).unwrap_or(&responses["default"]);
        let name = format!("{} {status}", operation.name());
        let kind = answer.headers.get("content-type").map(|kind| kind.to_str().expect("text"));
        match (described["content"].as_object(), kind) {
            (None, None) => vec![],
            (Some(content), Some(kind)) => match content.get(kind) {
                Some(content) => self.check(&name, &content["schema"], &answer.body),
                None => vec![format!("{name}: {kind} is not in the document")],
            },
            (content, kind) => vec![format!("{name}: {content:?} in the document, and {kind:?} was sent")],
        }
    }
}

impl Operation<'_> {
    /// What it is called in messages.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The answers of a call that was taken.
    pub fn successes(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.said["responses"]
            .as_object()
            .expect("responses")
            .iter()
            .filter(|(status, _)| status.starts_with(['1', '2']))
    }

    /// The example of its body; null where it has none.
    pub fn body<'a>(&'a self, document: &'a Document) -> Value {
        let content = &self.said["requestBody"]["content"]["application/json"];
        document.example(content).cloned().unwrap_or(Value::Null)
    }

    /// Whether its body is stored as it is: then it has no keys of its own.
    pub fn takes_anything(&self, document: &Document) -> bool {
        let schema = self.said.pointer("/requestBody/content/application~1json/schema");
        schema.is_some_and(|schema| document.resolved(schema)["properties"].is_null())
    }

    /// Whether a token is needed.
    pub fn is_closed(&self) -> bool {
        self.said.get("security").is_none()
    }

    /// An upgrade or a stream: not one answer.
    pub fn is_connection(&self) -> bool {
        self.path.ends_with("/ws") || self.path.ends_with("/events")
    }
}

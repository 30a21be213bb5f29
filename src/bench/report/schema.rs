//! The JSON Schema of reports is made from their types, and committed.

use std::fs;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use serde_json::Value;

use super::{Report, testing};

#[test]
fn generated_schema_is_fresh() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/bench.schema.json");
    let schema = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &schema).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == schema, "stale: `UPDATE=1 cargo test generated` writes it anew");
}

#[test]
fn the_schema_says_what_each_property_is() {
    fn check(at: &str, schema: &Value) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            assert_eq!(schema["additionalProperties"], false, "{at}");
            for (name, property) in properties {
                let description = property["description"].as_str().unwrap_or_default();
                assert!(description.len() > 5, "{at}: {name} is not described");
            }
        }
        match schema {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, it)| check(&format!("{at}/{name}"), it));
            }
            Value::Array(items) => items.iter().for_each(|it| check(at, it)),
            _ => {}
        }
    }
    let schema = schema();
    check("", &schema);
    // What is flattened stands with the rest.
    for name in ["counts", "response_us", "histograms", "validity", "config"] {
        assert!(schema["properties"][name].is_object(), "{name}: {schema:#}");
    }
    let report = serde_json::to_value(testing::report(100)).unwrap();
    for name in report.as_object().unwrap().keys() {
        assert!(schema["properties"][name].is_object(), "{name}");
    }
}

fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<Report>();
    schema.insert("$id".into(), "urn:towline:bench:report:1".into());
    schema.insert("title".into(), "A report of `towline bench`".into());
    let mut plain = RecursiveTransform(|schema: &mut schemars::Schema| {
        // Links within the code lead nowhere from here.
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text.replace("[`", "`").replace("`]", "`").replace('\n', " ");
        }
    });
    plain.transform(&mut schema);
    schema.to_value()
}

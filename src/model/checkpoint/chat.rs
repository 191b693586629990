//! Where chat templates are kept: beside a tokenizer's files, or in a GGUF file's metadata.
//!
//! A model can be used without its template, so a bad one is a warning and not an error.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use candle_core::quantized::gguf_file::Value as Metadatum;
use serde_json::Value;

use super::gguf::whole_number;
use crate::model::chat::ChatTemplate;

/// The tokens that transformers lets a template name (`SPECIAL_TOKENS_ATTRIBUTES` in its
/// `tokenization_utils_base.py`).
const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The template of a folder: `chat_template.jinja`, else the one in `tokenizer_config.json`.
pub(super) fn of_folder(folder: &Path) -> Option<ChatTemplate> {
    let path = folder.join("tokenizer_config.json");
    let config = match text_of(&path) {
        Some(text) => serde_json::from_str(&text).unwrap_or_else(|cause| {
            log::warn!("{}: is not JSON ({cause}): it is left out", path.display());
            Value::Null
        }),
        None => Value::Null,
    };
    let special = NAMES.iter().filter_map(|name| Some(((*name).to_owned(), token_of(&config[*name])?)));
    let special = special.collect();
    let file = folder.join("chat_template.jinja");
    match text_of(&file) {
        Some(source) => tried(&file, &source, special),
        None => tried(&path, default_of(&config["chat_template"])?, special),
    }
}

/// The template in the metadata of a GGUF file.
pub(super) fn of_gguf(path: &Path, metadata: &HashMap<String, Metadatum>) -> Option<ChatTemplate> {
    let source = metadata.get("tokenizer.chat_template")?.to_string().ok()?;
    let tokens = match metadata.get("tokenizer.ggml.tokens") {
        Some(Metadatum::Array(tokens)) => tokens.as_slice(),
        _ => &[],
    };
    let token = |key: &str| {
        let id = metadata.get(key).and_then(whole_number)?;
        tokens.get(usize::try_from(id).ok()?)?.to_string().ok().cloned()
    };
    let special = [
        ("bos_token", "tokenizer.ggml.bos_token_id"),
        ("eos_token", "tokenizer.ggml.eos_token_id"),
        ("unk_token", "tokenizer.ggml.unknown_token_id"),
        ("pad_token", "tokenizer.ggml.padding_token_id"),
    ];
    let special = special.into_iter().filter_map(|(name, key)| Some((name.to_owned(), token(key)?)));
    tried(path, source, special.collect())
}

fn tried(path: &Path, source: &str, special: BTreeMap<String, String>) -> Option<ChatTemplate> {
    ChatTemplate::new(source, special).inspect_err(|error| log::warn!("{}: {error}", path.display())).ok()
}

/// The text of a file that may not be there.
fn text_of(path: &Path) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(cause) => {
            if cause.kind() != ErrorKind::NotFound {
                log::warn!("{}: {cause}: it is left out", path.display());
            }
            None
        }
    }
}

/// A special token: a text, or an object that says more about it.
fn token_of(field: &Value) -> Option<String> {
    field.as_str().or_else(|| field["content"].as_str()).map(str::to_owned)
}

/// The template to talk with, where there may be others for tools or documents.
fn default_of(field: &Value) -> Option<&str> {
    if let Some(templates) = field.as_array() {
        return templates.iter().find(|entry| entry["name"] == "default")?["template"].as_str();
    }
    field.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEMPLATE: &str = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ unk_token }}";

    fn rendered(files: &[(&str, String)]) -> Option<String> {
        let folder = tempfile::TempDir::new().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        of_folder(folder.path()).map(|template| template.render("Hi").unwrap())
    }

    fn config(template: &Value) -> (&'static str, String) {
        let fields = json!({
            "bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "unk_token": null,
            "chat_template": template,
        });
        ("tokenizer_config.json", fields.to_string())
    }

    #[test]
    fn a_folder_has_its_template_in_a_file_or_in_the_tokenizers_configuration() {
        assert_eq!(rendered(&[]), None);
        assert_eq!(rendered(&[config(&Value::Null)]), None);
        assert_eq!(rendered(&[config(&json!(TEMPLATE))]).as_deref(), Some("<s>Hi</s>"));
        let several =
            json!([{"name": "tool_use", "template": "no"}, {"name": "default", "template": TEMPLATE}]);
        assert_eq!(rendered(&[config(&several)]).as_deref(), Some("<s>Hi</s>"));
        let file = ("chat_template.jinja", "{{ messages[0].content }}{{ eos_token }}".to_owned());
        assert_eq!(rendered(&[file.clone(), config(&json!(TEMPLATE))]).as_deref(), Some("Hi</s>"));
        assert_eq!(rendered(&[file]).as_deref(), Some("Hi"));
    }

    #[test]
    fn a_bad_template_or_configuration_is_left_out() {
        assert_eq!(rendered(&[config(&json!("{{ unheard_of() }}"))]), None);
        assert_eq!(rendered(&[("tokenizer_config.json", "{".to_owned())]), None);
    }

    #[test]
    fn a_gguf_file_names_its_tokens_by_number() {
        let text = |text: &str| Metadatum::String(text.to_owned());
        let mut metadata: HashMap<String, Metadatum> = [
            ("tokenizer.chat_template", text(TEMPLATE)),
            ("tokenizer.ggml.tokens", Metadatum::Array(vec![text("<s>"), text("</s>")])),
            ("tokenizer.ggml.bos_token_id", Metadatum::U32(0)),
            ("tokenizer.ggml.eos_token_id", Metadatum::U32(1)),
            ("tokenizer.ggml.unknown_token_id", Metadatum::U32(9)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let path = Path::new("m.gguf");
        assert_eq!(of_gguf(path, &metadata).unwrap().render("Hi").unwrap(), "<s>Hi</s>");
        metadata.remove("tokenizer.chat_template");
        assert_eq!(of_gguf(path, &metadata), None);
    }
}

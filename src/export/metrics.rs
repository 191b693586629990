//! The metrics of a run as one table.

use indexmap::{IndexMap, IndexSet};
use serde_json::Value;

/// `metrics.jsonl` as CSV: a row a step, a column for every name that any line has, empty where a line has none or
/// its number is not finite.
pub fn csv(lines: &[IndexMap<String, Value>]) -> String {
    let names: IndexSet<&str> = lines.iter().flat_map(|line| line.keys().map(String::as_str)).collect();
    let mut table = names.iter().map(|name| field(name)).collect::<Vec<String>>().join(",");
    table.push('\n');
    for line in lines {
        let cell = |name: &&str| match line.get(*name) {
            None | Some(Value::Null) => String::new(),
            Some(value) => field(&value.to_string()),
        };
        table.push_str(&names.iter().map(cell).collect::<Vec<String>>().join(","));
        table.push('\n');
    }
    table
}

/// A field as RFC 4180 has it, without what a terminal would obey.
fn field(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    if plain.contains([',', '"']) { format!("\"{}\"", plain.replace('"', "\"\"")) } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_comes_later_is_empty_before() {
        let line = |text: &str| serde_json::from_str(text).unwrap();
        let lines =
            [line(r#"{"step":1,"loss":null,"lr":0.01}"#), line(r#"{"step":2,"loss":1.5,"eval_loss":2}"#)];
        assert_eq!(csv(&lines), "step,loss,lr,eval_loss\n1,,0.01,\n2,1.5,,2\n");
    }
}

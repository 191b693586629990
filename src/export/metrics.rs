//! The metrics of a run as tables.

use indexmap::{IndexMap, IndexSet};
use serde_json::Value;

use crate::protocol::TensorNorms;
use crate::protocol::probe::Sweep;

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

/// The norms of these parameters as CSV: a row for each of them at each step, with the norms of its gradient, of itself
/// and of its change; empty where one is missing or not finite.
pub fn norms(names: &[String], steps: &[TensorNorms]) -> String {
    let mut table = "step,tensor,gradient,weight,update\n".to_owned();
    for at in steps {
        for (index, name) in names.iter().enumerate() {
            let cell = |norms: &[f32]| {
                let norm = norms.get(index).filter(|norm| norm.is_finite());
                norm.map_or_else(String::new, f32::to_string)
            };
            let [gradient, weight, update] = [&at.gradients, &at.weights, &at.updates].map(|of| cell(of));
            table.push_str(&format!("{},{},{gradient},{weight},{update}\n", at.step, field(name)));
        }
    }
    table
}

/// A sweep as CSV: a row for each point, with the movements of the first parameter and of the second, the loss and the
/// probability of the target; empty where one is not finite.
pub fn sweep(sweep: &Sweep) -> String {
    let mut table = "first,second,loss,p_target\n".to_owned();
    let places = sweep.second.iter().flat_map(|second| sweep.first.iter().map(move |first| (first, second)));
    for ((first, second), (loss, p)) in places.zip(sweep.loss.iter().zip(&sweep.p_target)) {
        let [loss, p] = [loss, p].map(|x| if x.is_finite() { x.to_string() } else { String::new() });
        table.push_str(&format!("{first},{second},{loss},{p}\n"));
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
    fn a_sweep_has_a_row_for_each_point() {
        let two = Sweep {
            first: vec![-1.0, 0.0],
            second: vec![0.5],
            loss: vec![2.5, f32::NAN],
            p_target: vec![0.25, 0.5],
        };
        assert_eq!(sweep(&two), "first,second,loss,p_target\n-1,0.5,2.5,0.25\n0,0.5,,0.5\n");
    }

    #[test]
    fn a_column_that_comes_later_is_empty_before() {
        let line = |text: &str| serde_json::from_str(text).unwrap();
        let lines =
            [line(r#"{"step":1,"loss":null,"lr":0.01}"#), line(r#"{"step":2,"loss":1.5,"eval_loss":2}"#)];
        assert_eq!(csv(&lines), "step,loss,lr,eval_loss\n1,,0.01,\n2,1.5,,2\n");
    }

    #[test]
    fn norms_have_a_row_for_each_parameter_at_each_step() {
        let names = ["embed".to_owned(), "a,b".to_owned()];
        let at = |step, gradients: &[f32]| TensorNorms {
            step,
            gradients: gradients.to_vec(),
            weights: vec![8.0, 0.5],
            updates: vec![1e-3],
        };
        let table = norms(&names, &[at(3, &[0.25, f32::NAN]), at(4, &[])]);
        let rows = ["3,embed,0.25,8,0.001", "3,\"a,b\",,0.5,", "4,embed,,8,0.001", "4,\"a,b\",,0.5,"];
        assert_eq!(table, format!("step,tensor,gradient,weight,update\n{}\n", rows.join("\n")));
    }
}

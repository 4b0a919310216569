//! `delegation`.

use switchy::{Client, types};

use super::confirm::confirmed_by_somebody;
use crate::{
    args::Delegation,
    failure::Failure,
    output::{Output, date},
};

pub async fn run(client: &Client, command: Delegation, output: &Output) -> Result<(), Failure> {
    match command {
        Delegation::List => {
            let request = client.delegations().list();
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            table(request.await?, output)
        }
        Delegation::Allow { yes, key } => {
            let question = format!(
                "Let {key} read and write your PRIVATE notes and private sessions in your name?"
            );
            if !confirmed_by_somebody(yes, &question)? {
                return output.say("they stay closed to it");
            }
            let request = client.delegations().allow(key);
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            table(vec![request.await?], output)
        }
        Delegation::End { key } => {
            client.delegations().end(&key).await?;
            output.say(&format!("your PRIVATE notes and private sessions are closed to {key}"))
        }
    }
}

fn table(delegations: Vec<types::Delegation>, output: &Output) -> Result<(), Failure> {
    let rows = delegations.into_iter().map(|it| {
        vec![it.key_id, it.key_name, it.key_prefix + "…", it.key_user_id, date(&it.created_at)]
    });
    output.table(&["ID", "NAME", "KEY", "USER", "SINCE"], rows.collect())
}

//! A test collection in the BEIR benchmark's layout: `corpus.jsonl`, `queries.jsonl`, and the
//! judgements in `qrels/SPLIT.tsv` or `qrels.tsv`.

use super::metrics::Judgements;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The split that is asked unless another is named; collections have it for this.
pub const USUAL_SPLIT: &str = "test";

/// The collection cannot be used; the sentence says where and why.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// No such file, no permission.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A line that is not as the layout wants it.
    #[error("{path}, line {line}: {cause}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        cause: String,
    },
    /// Nothing to measure.
    #[error("{path}: {what}")]
    Empty {
        /// The folder or file.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
}

/// A document.
#[derive(Debug, Deserialize)]
pub struct Document {
    /// Its id in the collection.
    #[serde(rename = "_id")]
    pub id: String,
    /// May be empty.
    #[serde(default)]
    title: String,
    text: String,
}

impl Document {
    /// What a note of it says: the title on a line of its own, if there is one, and the text.
    pub fn content(&self) -> String {
        match self.title.trim() {
            "" => self.text.trim().to_owned(),
            title => format!("{title}\n{}", self.text.trim()).trim().to_owned(),
        }
    }
}

/// A question with what was judged of it.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub text: String,
    /// By document; at least one is relevant.
    pub judged: Judgements<String>,
}

/// A collection.
#[derive(Debug)]
pub struct Dataset {
    /// The folder's name.
    pub name: String,
    /// In the file's order.
    pub documents: Vec<Document>,
    /// Those that have a relevant document, in the file's order.
    pub questions: Vec<Question>,
}

#[derive(Deserialize)]
struct Query {
    #[serde(rename = "_id")]
    id: String,
    text: String,
}

fn open(path: &Path) -> Result<BufReader<File>, DatasetError> {
    let file = File::open(path);
    let file = file.map_err(|cause| DatasetError::Read { path: path.to_owned(), cause })?;
    Ok(BufReader::new(file))
}

/// Every line that is not blank, with its number.
fn lines(path: &Path) -> Result<Vec<(usize, String)>, DatasetError> {
    let mut lines = Vec::new();
    for (i, line) in open(path)?.lines().enumerate() {
        let line = line.map_err(|cause| DatasetError::Read { path: path.to_owned(), cause })?;
        if !line.trim().is_empty() {
            lines.push((i + 1, line));
        }
    }
    Ok(lines)
}

fn json_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, DatasetError> {
    lines(path)?
        .into_iter()
        .map(|(line, text)| {
            serde_json::from_str(&text).map_err(|e| DatasetError::Line {
                path: path.to_owned(),
                line,
                cause: e.to_string(),
            })
        })
        .collect()
}

/// `query-id`, `corpus-id`, `score`, after a header line.
fn judgements(path: &Path) -> Result<HashMap<String, Judgements<String>>, DatasetError> {
    let mut judged: HashMap<String, Judgements<String>> = HashMap::new();
    for (line, text) in lines(path)?.into_iter().skip(1) {
        let wrong = |cause: &str| DatasetError::Line {
            path: path.to_owned(),
            line,
            cause: cause.to_owned(),
        };
        let mut columns = text.trim_end().split('\t');
        let (Some(query), Some(document), Some(grade), None) =
            (columns.next(), columns.next(), columns.next(), columns.next())
        else {
            return Err(wrong("expected three columns separated by tabs"));
        };
        // some collections grade below zero what is worse than irrelevant
        let grade: f64 = grade.trim().parse().map_err(|_| wrong("the score is no number"))?;
        let grade = grade.clamp(0.0, 1_000.0).round() as u32;
        judged.entry(query.to_owned()).or_default().insert(document.to_owned(), grade);
    }
    Ok(judged)
}

/// Where the judgements of `split` are.
fn judgement_file(folder: &Path, split: Option<&str>) -> Result<PathBuf, DatasetError> {
    let qrels = folder.join("qrels");
    let wanted = qrels.join(format!("{}.tsv", split.unwrap_or(USUAL_SPLIT)));
    if wanted.is_file() || split.is_some() {
        return Ok(wanted);
    }
    let flat = folder.join("qrels.tsv");
    if flat.is_file() {
        return Ok(flat);
    }
    let mut others: Vec<PathBuf> = std::fs::read_dir(&qrels)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "tsv"))
        .collect();
    others.sort();
    others.into_iter().next().ok_or_else(|| DatasetError::Empty {
        path: folder.to_owned(),
        what: "there are no judgements, neither qrels/test.tsv nor qrels.tsv".into(),
    })
}

impl Dataset {
    /// Reads the folder. `split` names one of `qrels/`; otherwise `qrels/test.tsv`, `qrels.tsv`, or
    /// the first of `qrels/`.
    ///
    /// # Errors
    /// When a file is missing or malformed, or nothing is left to ask.
    pub fn read(folder: &Path, split: Option<&str>) -> Result<Dataset, DatasetError> {
        let empty = |path: PathBuf, what: &str| DatasetError::Empty { path, what: what.to_owned() };
        let corpus = folder.join("corpus.jsonl");
        let documents: Vec<Document> = json_lines(&corpus)?;
        if documents.is_empty() {
            return Err(empty(corpus, "there is no document in it"));
        }
        let mut judged = judgements(&judgement_file(folder, split)?)?;
        let questions: Vec<Question> = json_lines::<Query>(&folder.join("queries.jsonl"))?
            .into_iter()
            .filter_map(|query| {
                let judged = judged.remove(&query.id)?;
                let relevant = judged.values().any(|grade| *grade > 0);
                (relevant && !query.text.trim().is_empty())
                    .then_some(Question { text: query.text, judged })
            })
            .collect();
        if questions.is_empty() {
            return Err(empty(folder.to_owned(), "no question has a relevant document"));
        }
        let name = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = name.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Dataset { name, documents, questions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, contents) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, contents).expect("a file");
        }
        dir
    }

    const CORPUS: (&str, &str) = (
        "corpus.jsonl",
        "{\"_id\": \"d1\", \"title\": \"One\", \"text\": \"first\"}\n\n\
         {\"_id\": \"d2\", \"text\": \" second \", \"metadata\": {}}\n",
    );
    const QUERIES: (&str, &str) = (
        "queries.jsonl",
        "{\"_id\": \"q1\", \"text\": \"which?\"}\n{\"_id\": \"q2\", \"text\": \"unjudged\"}\n\
         {\"_id\": \"q3\", \"text\": \"nothing fits\"}\n",
    );

    #[test]
    fn a_collection_is_read_with_what_can_be_asked() {
        let qrels = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq3\td1\t0\nq9\td1\t1\n";
        for name in ["qrels/test.tsv", "qrels.tsv", "qrels/dev.tsv"] {
            let dir = folder(&[CORPUS, QUERIES, (name, qrels)]);
            let dataset = Dataset::read(dir.path(), None).expect(name);
            let contents: Vec<_> = dataset.documents.iter().map(Document::content).collect();
            assert_eq!(contents, ["One\nfirst", "second"]);
            assert_eq!(dataset.questions.len(), 1);
            assert_eq!(dataset.questions[0].text, "which?");
            assert_eq!(dataset.questions[0].judged["d1"], 2);
        }
    }

    #[test]
    fn a_split_is_taken_by_name() {
        let dir = folder(&[
            CORPUS,
            QUERIES,
            ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n"),
            ("qrels/dev.tsv", "query-id\tcorpus-id\tscore\nq2\td2\t1\n"),
        ]);
        let dataset = Dataset::read(dir.path(), Some("dev")).expect("dev");
        assert_eq!(dataset.questions[0].text, "unjudged");
        let error = Dataset::read(dir.path(), Some("train")).expect_err("no such split");
        assert!(error.to_string().contains("train.tsv"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let good = ("qrels.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n");
        for (files, says) in [
            (vec![], "corpus.jsonl"),
            (vec![("corpus.jsonl", "")], "no document"),
            (vec![("corpus.jsonl", "{\"_id\": 1}")], "line 1"),
            (vec![CORPUS], "no judgements"),
            (vec![CORPUS, good], "queries.jsonl"),
            (vec![CORPUS, QUERIES, ("qrels.tsv", "h\nq1 d1 1\n")], "line 2"),
            (vec![CORPUS, QUERIES, ("qrels.tsv", "h\nq1\td1\tx\n")], "no number"),
            (vec![CORPUS, QUERIES, ("qrels.tsv", "h\nq1\td1\t0\n")], "no question"),
        ] {
            let dir = folder(&files);
            let error = Dataset::read(dir.path(), None).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

//! An answer of the control location, and how it is sent.

use std::borrow::Cow;

use nginx_sys::ngx_int_t;

use crate::control::accepts_json;
use crate::control::report::{Report, quoted};
use crate::nginx::ffi::request::Request;

/// An answer, before it is put into the form that was asked for.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The first line, unless the reports are all there is to say: in text each has its own then.
    pub line: Option<String>,
    /// What the call brought besides, as `name: value`.
    pub facts: Vec<(&'static str, u64)>,
    pub reports: Vec<Report>,
    /// Whether the reports are a list, however many there are.
    pub is_list: bool,
    /// Something in a form of its own.
    pub document: Option<Document>,
}

/// What is sent as it is, whatever form was asked for.
pub struct Document {
    pub content_type: &'static str,
    pub body: Cow<'static, str>,
}

impl Answer {
    pub fn line(status: u16, line: impl Into<String>) -> Self {
        Self { line: Some(line.into()), ..Self::of_reports(status, Vec::new()) }
    }

    pub fn error(status: u16, line: impl Into<String>) -> Self {
        Self::line(status, line)
    }

    pub fn bad_request(why: impl core::fmt::Display) -> Self {
        Self::error(400, format!("Bad request: {why}."))
    }

    pub fn of_reports(status: u16, reports: Vec<Report>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            line: None,
            facts: Vec::new(),
            reports,
            is_list: false,
            document: None,
        }
    }

    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn of_document(content_type: &'static str, body: impl Into<Cow<'static, str>>) -> Self {
        let document = Document { content_type, body: body.into() };
        Self { document: Some(document), ..Self::of_reports(200, Vec::new()) }
    }

    fn text(&self) -> String {
        let mut text = self.line.as_ref().map(|line| format!("{line}\n")).unwrap_or_default();
        for (name, value) in &self.facts {
            text += &format!("{name}: {value}\n");
        }
        let of_report = |report: &Report| match self.line {
            Some(_) => report.text(),
            None => format!("{}\n{}", report.line(), report.text()),
        };
        text + &self.reports.iter().map(of_report).collect::<Vec<_>>().join("\n")
    }

    fn json(&self) -> String {
        let said = if self.status < 400 { "message" } else { "error" };
        let mut members: Vec<String> =
            self.line.iter().map(|line| format!("\"{said}\":{}", quoted(line))).collect();
        members.extend(self.facts.iter().map(|(name, value)| format!("\"{name}\":{value}")));
        let reports = self.reports.iter().map(Report::json);
        match (self.is_list, members.is_empty()) {
            (true, true) => return format!("[{}]\n", reports.collect::<Vec<_>>().join(",")),
            (true, false) => {
                members.push(format!("\"apps\":[{}]", reports.collect::<Vec<_>>().join(",")));
            }
            (false, _) => members.extend(reports.map(|report| inside(&report).to_owned())),
        }
        format!("{{{}}}\n", members.join(","))
    }
}

/// The members of a JSON object.
fn inside(object: &str) -> &str {
    object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default()
}

/// Sends an answer. `None` if there is no memory.
pub fn send(request: Request<'_>, answer: &Answer) -> Option<ngx_int_t> {
    let (kind, body): (_, Cow<'_, str>) = match &answer.document {
        Some(document) => (document.content_type, document.body.as_ref().into()),
        None if wants_json(request) => ("application/json", answer.json().into()),
        None => ("text/plain", answer.text().into()),
    };
    request.add_header("Cache-Control", b"no-store")?;
    request.add_header("X-Content-Type-Options", b"nosniff")?;
    for (name, value) in &answer.headers {
        request.add_header(name, value.as_bytes())?;
    }
    request.send(answer.status, kind, body.as_bytes())
}

/// Whether the answer is to be JSON: what the address says counts more than what the client accepts.
fn wants_json(request: Request<'_>) -> bool {
    let mut pairs = request.query().split(|byte| *byte == b'&');
    match pairs.find_map(|pair| pair.strip_prefix(b"format=")) {
        Some(format) => format == b"json",
        None => request.header("Accept").is_some_and(accepts_json),
    }
}

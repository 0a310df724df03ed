//! An answer of the control location, and how it is sent.

use core::ptr;
use std::borrow::Cow;

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_buf_t, ngx_chain_t, ngx_http_output_filter, ngx_http_request_t,
    ngx_http_send_header, ngx_int_t, ngx_pcalloc, ngx_pnalloc, ngx_str_t,
};

use crate::control::accepts_json;
use crate::control::report::{Report, quoted};
use crate::nginx::ffi::headers;

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
///
/// # Safety
///
/// `request` is a living request to a control location, to which nothing has been answered.
pub unsafe fn send(request: *mut ngx_http_request_t, answer: &Answer) -> Option<ngx_int_t> {
    // SAFETY: the caller's promise; all that the response needs is in the request's pool.
    unsafe {
        let (kind, body): (_, Cow<'_, str>) = match &answer.document {
            Some(document) => (document.content_type, document.body.as_ref().into()),
            None if wants_json(request) => ("application/json", answer.json().into()),
            None => ("text/plain", answer.text().into()),
        };
        headers::add(request, "Cache-Control", b"no-store")?;
        headers::add(request, "X-Content-Type-Options", b"nosniff")?;
        for (name, value) in &answer.headers {
            headers::add(request, name, value.as_bytes())?;
        }
        let out = &mut (*request).headers_out;
        out.status = usize::from(answer.status);
        out.content_type = ngx_str_t { len: kind.len(), data: kind.as_ptr().cast_mut() };
        out.content_type_len = kind.len();
        out.content_length_n = i64::try_from(body.len()).ok()?;
        let rc = ngx_http_send_header(request);
        let sent = rc != NGX_ERROR as ngx_int_t && rc <= NGX_OK as ngx_int_t;
        if !sent || (*request).header_only() != 0 {
            return Some(rc);
        }
        let buffer = buffer(request, body.as_bytes())?;
        let mut chain = ngx_chain_t { buf: buffer, next: ptr::null_mut() };
        Some(ngx_http_output_filter(request, &mut chain))
    }
}

/// # Safety
///
/// `request` is a living request.
unsafe fn buffer(request: *mut ngx_http_request_t, body: &[u8]) -> Option<*mut ngx_buf_t> {
    // SAFETY: the caller's promise; zeroes are right for what is not set.
    unsafe {
        let data = ngx_pnalloc((*request).pool, body.len().max(1)).cast::<u8>();
        let buffer = ngx_pcalloc((*request).pool, size_of::<ngx_buf_t>()).cast::<ngx_buf_t>();
        if data.is_null() || buffer.is_null() {
            return None;
        }
        data.copy_from_nonoverlapping(body.as_ptr(), body.len());
        (*buffer).pos = data;
        (*buffer).last = data.add(body.len());
        (*buffer).set_memory(u32::from(!body.is_empty()));
        (*buffer).set_last_buf(u32::from(request == (*request).main));
        (*buffer).set_last_in_chain(1);
        Some(buffer)
    }
}

/// Whether the answer is to be JSON: what the address says counts more than what the client accepts.
///
/// # Safety
///
/// `request` is a living request.
unsafe fn wants_json(request: *mut ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let query = headers::bytes(&(*request).args);
        match query.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"format=")) {
            Some(format) => format == b"json",
            None => headers::find(request, "Accept").is_some_and(accepts_json),
        }
    }
}

//! Refusals on the wire: the one place that maps a reason to a gRPC status with rich details, and back.

use exchange::Refused;
use record::reason::StatusClass;
use record::{ReasonCode, Refusal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, ErrorInfo, LocalizedMessage, RetryInfo, StatusExt as _};
use wire::v1;

/// Domain of `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "songhe";

/// A refusal as a gRPC status.
#[must_use]
pub fn status_of(refusal: &Refusal) -> Status {
    build(refusal, &[])
}

/// A refusal with the place of its leaf.
#[must_use]
pub fn status_of_refused(refused: &Refused) -> Status {
    match &refused.leaf {
        Some(leaf) => build(
            &refused.refusal,
            &[
                ("leaf_member", leaf.member.to_string()),
                ("leaf_seq", leaf.seq.to_string()),
                ("exchange_id", leaf.xid.to_hex()),
            ],
        ),
        None => build(&refused.refusal, &[]),
    }
}

fn build(refusal: &Refusal, more: &[(&str, String)]) -> Status {
    let reason = refusal.reason;
    let mut metadata: std::collections::HashMap<String, String> = more
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.clone()))
        .collect();
    if let Some(detail) = &refusal.detail {
        metadata.insert("detail".into(), detail.clone());
    }
    metadata.insert("next".into(), reason.next_english().into());
    let mut details: Vec<ErrorDetail> = vec![
        ErrorInfo::new(reason.as_str(), DOMAIN, metadata).into(),
        LocalizedMessage::new(
            "zh-CN",
            format!("{}。{}。", reason.chinese(), reason.next_chinese()),
        )
        .into(),
        LocalizedMessage::new(
            "en",
            format!("{}; {}", reason.english(), reason.next_english()),
        )
        .into(),
    ];
    if let Some(ms) = refusal.retry_after_ms {
        details.push(RetryInfo::new(Some(std::time::Duration::from_millis(ms))).into());
    }
    let message = match &refusal.detail {
        Some(detail) => format!("{} ({detail})", reason.english()),
        None => reason.english().to_owned(),
    };
    Status::with_error_details_vec(code_of(reason.status()), message, details)
}

const fn code_of(class: StatusClass) -> Code {
    match class {
        StatusClass::InvalidArgument => Code::InvalidArgument,
        StatusClass::NotFound => Code::NotFound,
        StatusClass::AlreadyExists => Code::AlreadyExists,
        StatusClass::PermissionDenied => Code::PermissionDenied,
        StatusClass::Unauthenticated => Code::Unauthenticated,
        StatusClass::ResourceExhausted => Code::ResourceExhausted,
        StatusClass::FailedPrecondition => Code::FailedPrecondition,
        StatusClass::DataLoss => Code::DataLoss,
        StatusClass::DeadlineExceeded => Code::DeadlineExceeded,
        StatusClass::Unavailable => Code::Unavailable,
        StatusClass::Internal => Code::Internal,
    }
}

/// The refusal a status carries, if it is one of ours: reason, detail, and the leaf's place.
#[must_use]
pub fn refusal_in(status: &Status) -> Option<(Refusal, Option<v1::LeafRef>)> {
    let info = status
        .get_details_error_info()
        .filter(|i| i.domain == DOMAIN)?;
    let reason = ReasonCode::parse(&info.reason)?;
    let refusal = Refusal {
        reason,
        detail: info.metadata.get("detail").cloned(),
        retry_after_ms: None,
    };
    let leaf = info
        .metadata
        .get("leaf_seq")
        .and_then(|seq| seq.parse().ok())
        .map(|seq| v1::LeafRef {
            member_id: info
                .metadata
                .get("leaf_member")
                .cloned()
                .unwrap_or_default(),
            seq,
            exchange_id: info
                .metadata
                .get("exchange_id")
                .and_then(|x| record::ExchangeId::from_hex(x).ok())
                .map(|x| x.as_bytes().to_vec())
                .unwrap_or_default(),
        });
    Some((refusal, leaf))
}

/// A reason in both languages, as a message.
#[must_use]
pub fn reason_message(reason: ReasonCode, detail: Option<&str>) -> v1::Reason {
    let with = |sentence: &str, mark: &str| match detail {
        Some(detail) => format!("{sentence}{mark}{detail}"),
        None => sentence.to_owned(),
    };
    v1::Reason {
        code: reason.as_str().to_owned(),
        en: with(reason.english(), ": "),
        zh: with(reason.chinese(), "："),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_goes_there_and_back_with_both_sentences() {
        for reason in ReasonCode::ALL {
            let refusal = Refusal::with_detail(*reason, "field x");
            let status = status_of(&refusal);
            assert_eq!(refusal_in(&status).unwrap().0, refusal);
            let details = status.get_error_details_vec();
            let locales: Vec<_> = details
                .iter()
                .filter_map(|d| {
                    if let ErrorDetail::LocalizedMessage(m) = d {
                        Some(m.locale.as_str())
                    } else {
                        None
                    }
                })
                .collect();
            assert_eq!(locales, ["zh-CN", "en"]);
        }
    }
}

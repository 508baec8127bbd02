//! Why the node says no: the one table of reason codes, with whose fault it is and what to do next.
//!
//! The codes travel as `google.rpc.ErrorInfo.reason` in the domain `songhe`; the sentences as
//! `google.rpc.LocalizedMessage`. `docs/REASONS.md` is written from this table.

use core::fmt;

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The caller: fix the request or the certificate.
    Caller,
    /// Another member of the federation.
    Peer,
    /// Nobody: policy or consent stand in the way.
    Rule,
    /// This node: its operator has to act.
    Node,
}

impl Blame {
    /// A lower-case word for tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Peer => "peer",
            Self::Rule => "rule",
            Self::Node => "node",
        }
    }
}

/// The gRPC status code a reason maps to (names of `google.rpc.Code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// `INVALID_ARGUMENT`
    InvalidArgument,
    /// `NOT_FOUND`
    NotFound,
    /// `ALREADY_EXISTS`
    AlreadyExists,
    /// `PERMISSION_DENIED`
    PermissionDenied,
    /// `UNAUTHENTICATED`
    Unauthenticated,
    /// `RESOURCE_EXHAUSTED`
    ResourceExhausted,
    /// `FAILED_PRECONDITION`
    FailedPrecondition,
    /// `DATA_LOSS`
    DataLoss,
    /// `DEADLINE_EXCEEDED`
    DeadlineExceeded,
    /// `UNAVAILABLE`
    Unavailable,
    /// `INTERNAL`
    Internal,
}

impl StatusClass {
    /// The name as in `google.rpc.Code`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::DataLoss => "DATA_LOSS",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

macro_rules! reasons {
    ($($variant:ident $code:literal $blame:ident $status:ident { en $en:literal zh $zh:literal next $next:literal next_zh $next_zh:literal })*) => {
        /// A reason code. The list is closed: a policy or peer that names another is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ReasonCode {
            $(#[doc = $en] $variant,)*
        }

        impl ReasonCode {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code on the wire, in leaves and in policy output.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn blame(self) -> Blame {
                match self { $(Self::$variant => Blame::$blame,)* }
            }

            /// The gRPC status it maps to.
            #[must_use]
            pub const fn status(self) -> StatusClass {
                match self { $(Self::$variant => StatusClass::$status,)* }
            }

            /// The sentence in English.
            #[must_use]
            pub const fn english(self) -> &'static str {
                match self { $(Self::$variant => $en,)* }
            }

            /// The sentence in Chinese.
            #[must_use]
            pub const fn chinese(self) -> &'static str {
                match self { $(Self::$variant => $zh,)* }
            }

            /// What to do next, in English.
            #[must_use]
            pub const fn next_english(self) -> &'static str {
                match self { $(Self::$variant => $next,)* }
            }

            /// What to do next, in Chinese.
            #[must_use]
            pub const fn next_chinese(self) -> &'static str {
                match self { $(Self::$variant => $next_zh,)* }
            }
        }
    };
}

reasons! {
    // Who asks.
    PeerUnknown "PEER_UNKNOWN" Caller Unauthenticated { en "this node's directory has no such member" zh "本节点的成员目录中没有该机构" next "ask the federation's authority to add the member, then let this node pull the new directory" next_zh "请联合体管理机构将该机构加入目录，并等待本节点更新目录" }
    PeerSuspended "PEER_SUSPENDED" Caller PermissionDenied { en "the member is suspended by the federation's authority" zh "该机构已被联合体管理机构暂停" next "ask the authority why; a new directory lifts the suspension" next_zh "请向管理机构询问原因，新目录发布后方可恢复" }
    PeerCertificateExpired "PEER_CERTIFICATE_EXPIRED" Caller Unauthenticated { en "the member's certificate is outside its validity period" zh "该机构的证书不在有效期内" next "renew the certificate with `songhe certificate renew`; no restart is needed" next_zh "请用 songhe certificate renew 更新证书，无需重启" }
    PeerCertificateMismatch "PEER_CERTIFICATE_MISMATCH" Caller Unauthenticated { en "the certificate does not belong to the member it names" zh "证书与其声明的机构不符" next "use the certificate that this member's own authority issued" next_zh "请使用该机构自己签发的证书" }
    ProtocolTooOld "PROTOCOL_TOO_OLD" Caller FailedPrecondition { en "the caller speaks a protocol version this node no longer accepts" zh "对方使用的协议版本过旧，本节点不再接受" next "upgrade the caller's node" next_zh "请升级对方节点" }
    ClientUnknown "CLIENT_UNKNOWN" Caller Unauthenticated { en "the client certificate was not issued by this node for a role" zh "该客户端证书不是由本节点为某一角色签发的" next "have the operator issue one with `songhe certificate issue`" next_zh "请运维人员用 songhe certificate issue 签发证书" }
    RoleNotAllowed "ROLE_NOT_ALLOWED" Caller PermissionDenied { en "the role of this certificate may not make this call" zh "该证书的角色无权进行此操作" next "use a certificate of a role that may" next_zh "请使用有权角色的证书" }
    SignatureInvalid "SIGNATURE_INVALID" Caller Unauthenticated { en "the request's signature does not verify with the member's key" zh "请求的签名无法用该机构的密钥验证" next "check that the directory has the member's present key" next_zh "请核对目录中该机构的密钥是否为最新" }
    RequestStale "REQUEST_STALE" Caller FailedPrecondition { en "the request was signed too long ago or in the future; the clocks of the two nodes differ" zh "请求签名时间过早或在未来，两节点时钟不一致" next "set the caller's clock by NTP and send a new request" next_zh "请用 NTP 校准请求方时钟后重新发送" }
    RequestReplayed "REQUEST_REPLAYED" Caller AlreadyExists { en "a request with this exchange id was already answered" zh "该交换编号的请求已被处理过" next "send a new request with a new exchange id" next_zh "请用新的交换编号重新发送请求" }
    RecipientWrong "RECIPIENT_WRONG" Caller InvalidArgument { en "the signed request is addressed to another member" zh "该签名请求的接收方不是本机构" next "send the request to the member it names" next_zh "请将请求发给其指明的机构" }
    RequestMalformed "REQUEST_MALFORMED" Caller InvalidArgument { en "the request is not well formed" zh "请求格式不正确" next "correct the field that the detail names" next_zh "请按提示更正字段" }
    QuotaExceeded "QUOTA_EXCEEDED" Caller ResourceExhausted { en "the member has used up its quota for now" zh "该机构当前配额已用完" next "wait as long as the retry information says" next_zh "请按提示时间稍后重试" }
    DirectoryExpired "DIRECTORY_EXPIRED" Node FailedPrecondition { en "this node's directory of members has expired" zh "本节点的成员目录已过期" next "the authority signs a new directory; the node pulls it from any peer" next_zh "请管理机构签发新目录，节点会自动从任一成员获取" }
    DirectoryInvalid "DIRECTORY_INVALID" Caller InvalidArgument { en "the directory is not signed by the authority, or is older than the one held" zh "目录未经管理机构签名，或版本低于现有目录" next "fetch the newest directory from the authority" next_zh "请从管理机构获取最新目录" }
    // About whom.
    SubjectInvalid "SUBJECT_INVALID" Caller InvalidArgument { en "the resident identity number is not valid" zh "居民身份号码无效" next "check the number on the card and enter it again" next_zh "请核对证件号码后重新录入" }
    SubjectUnresolved "SUBJECT_UNRESOLVED" Caller InvalidArgument { en "it is not clear which person the record is about" zh "无法确定该记录属于谁" next "store the person's profile first, or name the subject with the record" next_zh "请先存入本人档案，或随记录注明对象" }
    SubjectErased "SUBJECT_ERASED" Caller FailedPrecondition { en "this person's data was erased here" zh "该对象的数据已在本节点销毁" next "register the person anew if there is a new lawful basis" next_zh "如有新的合法依据，请重新登记" }
    PseudonymMalformed "PSEUDONYM_MALFORMED" Caller InvalidArgument { en "the blinded value or pseudonym is malformed" zh "盲化值或假名格式不正确" next "use the element encoding of RFC 9497, ristretto255" next_zh "请使用 RFC 9497 ristretto255 编码" }
    // Whether it may be shared.
    ConsentMissing "CONSENT_MISSING" Rule PermissionDenied { en "no consent known here permits this; whether records exist is not told" zh "本节点没有允许此访问的授权；是否存在记录不予告知" next "ask the person or guardian for consent, or name another lawful basis" next_zh "请征得本人或监护人授权，或说明其他合法依据" }
    ConsentRefused "CONSENT_REFUSED" Rule PermissionDenied { en "the person refused this recipient, purpose or kind of record" zh "本人已拒绝该机构、用途或数据类型" next "respect the refusal, or speak with the person" next_zh "请尊重本人意愿，或与本人沟通" }
    ConsentInvalid "CONSENT_INVALID" Caller InvalidArgument { en "the consent is not valid as entered" zh "所录入的授权无效" next "correct what the detail names" next_zh "请按提示更正" }
    ConsentNotFound "CONSENT_NOT_FOUND" Caller NotFound { en "no such consent is in force here" zh "本节点没有生效的该授权" next "list the person's consents with `songhe consent list`" next_zh "请用 songhe consent list 查看" }
    BasisInsufficient "BASIS_INSUFFICIENT" Rule PermissionDenied { en "the named lawful basis does not suffice for this purpose and data level" zh "所述合法依据不足以支持该用途和数据级别" next "name a basis that does, such as consent" next_zh "请说明足够的合法依据，例如本人授权" }
    PurposeNotAllowed "PURPOSE_NOT_ALLOWED" Rule PermissionDenied { en "the policy gives this role no access for this purpose" zh "策略不允许该角色以此用途访问" next "use the purpose that the task really has, or ask the security administrator" next_zh "请使用与工作相符的用途，或联系安全管理员" }
    LevelTooHigh "LEVEL_TOO_HIGH" Rule PermissionDenied { en "records of this data level are closed to this role and purpose" zh "该级别的数据对此角色和用途不开放" next "ask for record types of a lower level" next_zh "请申请较低级别的数据类型" }
    PolicyFailed "POLICY_FAILED" Node Internal { en "the policy could not be evaluated, so the answer is no" zh "策略无法求值，按拒绝处理" next "the security administrator checks the active policy" next_zh "请安全管理员检查现行策略" }
    ObligationUnknown "OBLIGATION_UNKNOWN" Node Internal { en "the policy asks for a duty this node cannot carry out, so the answer is no" zh "策略要求了本节点无法履行的义务，按拒绝处理" next "the security administrator corrects the policy" next_zh "请安全管理员更正策略" }
    // Records.
    TypeUnknown "TYPE_UNKNOWN" Caller InvalidArgument { en "the record type is not in the catalogue" zh "目录中没有该记录类型" next "list the types with `songhe catalog`" next_zh "请用 songhe catalog 查看类型" }
    RecordMalformed "RECORD_MALFORMED" Caller InvalidArgument { en "the record is not well-formed JSON of a FHIR R4 resource" zh "记录不是格式正确的 FHIR R4 JSON" next "correct the record; the outcome names the place" next_zh "请按结果提示的位置更正" }
    RecordInvalid "RECORD_INVALID" Caller InvalidArgument { en "the record breaks a rule of FHIR R4 or of the catalogue" zh "记录违反 FHIR R4 或目录规则" next "correct what the outcome names and re-submit it from quarantine" next_zh "请按结果更正后从隔离区重新提交" }
    RecordTooLarge "RECORD_TOO_LARGE" Caller ResourceExhausted { en "the record is larger than this node accepts" zh "记录超过本节点允许的大小" next "split it, or keep the binary part elsewhere and refer to it" next_zh "请拆分，或将二进制内容另存并引用" }
    RecordConflict "RECORD_CONFLICT" Caller AlreadyExists { en "another content is stored under the same source, id and version" zh "相同来源、编号和版本下已存有不同内容" next "give the changed record a new version" next_zh "请为更改后的记录使用新版本号" }
    UnitInvalid "UNIT_INVALID" Caller InvalidArgument { en "the unit is not the one this vital sign is exchanged in" zh "该体征的计量单位不正确" next "convert the value to the unit that the outcome names" next_zh "请换算为结果中指明的单位" }
    ValueOutOfRange "VALUE_OUT_OF_RANGE" Caller InvalidArgument { en "the value lies outside what is physically possible" zh "数值超出可能范围" next "check the device and the unit" next_zh "请检查设备和单位" }
    StreamTruncated "STREAM_TRUNCATED" Caller InvalidArgument { en "the stream ended inside a record" zh "数据流在记录中间中断" next "send the stream again; what was acknowledged is stored and will be recognised" next_zh "请重新发送；已确认的记录会被识别" }
    QuarantineNotFound "QUARANTINE_NOT_FOUND" Caller NotFound { en "no such entry is in quarantine" zh "隔离区没有该条目" next "list the entries with `songhe quarantine list`" next_zh "请用 songhe quarantine list 查看" }
    CursorInvalid "CURSOR_INVALID" Caller InvalidArgument { en "the cursor was not issued by this node for this query" zh "游标不是由本节点为该查询签发的" next "start again without a cursor" next_zh "请不带游标重新开始" }
    // This node.
    Busy "BUSY" Node ResourceExhausted { en "the node has as much work as it can hold" zh "节点繁忙" next "try again shortly" next_zh "请稍后重试" }
    StorageFull "STORAGE_FULL" Node ResourceExhausted { en "there is no room for new records; reading goes on" zh "存储空间不足，无法写入，读取不受影响" next "the operator frees or adds space; writing resumes by itself" next_zh "请运维人员清理或扩容，之后自动恢复写入" }
    StorageFailed "STORAGE_FAILED" Node Unavailable { en "the disk failed to keep a write; the node stopped writing to protect what is stored" zh "磁盘写入失败，节点已停止写入以保护数据" next "the operator checks the disk and restarts the node" next_zh "请运维人员检查磁盘并重启节点" }
    DataDamaged "DATA_DAMAGED" Node DataLoss { en "a stored record is damaged and is not served" zh "存储的记录已损坏，不予提供" next "the operator runs `songhe fsck`, which names the place" next_zh "请运维人员运行 songhe fsck 定位" }
    IndexUnavailable "INDEX_UNAVAILABLE" Node Unavailable { en "the index is being rebuilt; nothing is answered from an incomplete view" zh "索引正在重建，不以不完整的视图作答" next "try again in a while" next_zh "请稍后重试" }
    ShuttingDown "SHUTTING_DOWN" Node Unavailable { en "the node is stopping" zh "节点正在停止" next "try again when it is back" next_zh "请待节点恢复后重试" }
    Internal "INTERNAL" Node Internal { en "something failed inside the node" zh "节点内部错误" next "give the operator the exchange id" next_zh "请将交换编号告知运维人员" }
    // Another member, as the gateway reports it.
    MemberUnreachable "MEMBER_UNREACHABLE" Peer Unavailable { en "the member could not be reached in time" zh "在限定时间内无法连接该机构" next "try again; the other members' answers are complete" next_zh "请稍后重试；其他机构的结果完整" }
    AnswerInvalid "ANSWER_INVALID" Peer Unavailable { en "the member's answer does not hold what it must, so it was not handed on" zh "该机构的应答不符合要求，未予采用" next "tell the operator of that member" next_zh "请通知该机构的运维人员" }
}

impl ReasonCode {
    /// Finds a reason by its code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.as_str() == code)
    }

    /// The reason another agency is told. A refusal or withdrawal by the person would tell that the
    /// person is known here, so it reads like a missing consent outside; the leaf keeps the true one.
    #[must_use]
    pub const fn told_outside(self) -> Self {
        match self {
            Self::ConsentRefused => Self::ConsentMissing,
            other => other,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The whole table as Markdown, for `docs/REASONS.md`.
#[must_use]
pub fn table_markdown() -> String {
    let mut text = String::from(
        "| code | status | whose fault | sentence (en) | 说明 (zh-CN) | what to do next |\n|---|---|---|---|---|---|\n",
    );
    for r in ReasonCode::ALL {
        text.push_str(&format!(
            "| `{}` | `{}` | {} | {} | {} | {} |\n",
            r.as_str(),
            r.status().as_str(),
            r.blame().as_str(),
            r.english(),
            r.chinese(),
            r.next_english(),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_go_both_ways() {
        for (i, r) in ReasonCode::ALL.iter().enumerate() {
            assert_eq!(ReasonCode::parse(r.as_str()), Some(*r));
            assert!(
                !ReasonCode::ALL[..i]
                    .iter()
                    .any(|o| o.as_str() == r.as_str())
            );
            assert!(
                r.as_str()
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b == b'_')
            );
            assert!(
                r.as_str().len() <= 63,
                "ErrorInfo.reason is at most 63 characters"
            );
        }
    }

    #[test]
    fn sentences_have_manners() {
        for r in ReasonCode::ALL {
            assert!(!r.english().ends_with('.') && !r.next_english().is_empty());
            assert!(r.english().starts_with(|c: char| c.is_lowercase()), "{r}");
            assert!(
                !r.chinese().is_ascii() && !r.next_chinese().is_ascii(),
                "{r}"
            );
        }
    }
}

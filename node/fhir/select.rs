//! Which record type of the catalogue a resource is of.

use record::catalog::Selector;
use record::{Catalog, RecordType};

use crate::json::Value;

/// The first type with a selector that fits; `None` when the catalogue has none.
pub(crate) fn record_type<'c>(
    catalog: &'c Catalog,
    resource: &Value<'_>,
) -> Option<&'c RecordType> {
    let name = resource.text("resourceType")?;
    catalog.types.iter().find(|t| {
        t.selectors
            .iter()
            .any(|s| s.resource == name && fits(s, resource))
    })
}

/// `category` is a list in most resources and single in some; both forms are read.
fn fits(selector: &Selector, resource: &Value<'_>) -> bool {
    let codings = |key: &str, test: &dyn Fn(&Value<'_>) -> bool| {
        resource
            .each(key)
            .iter()
            .flat_map(|concept| concept.each("coding"))
            .any(test)
    };
    let category = selector.category.is_empty()
        || codings("category", &|coding| {
            coding
                .text("code")
                .is_some_and(|code| selector.category.iter().any(|wanted| wanted == code))
        });
    let code = selector.code.is_empty()
        || codings("code", &|coding| {
            let (system, code) = (coding.text("system"), coding.text("code"));
            selector.code.iter().any(|wanted| {
                wanted
                    .rsplit_once('|')
                    .is_some_and(|(wanted_system, wanted_code)| {
                        system == Some(wanted_system)
                            && (wanted_code == "*" || code == Some(wanted_code))
                    })
            })
        });
    category && code
}

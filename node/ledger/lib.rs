//! What the node knows: events in the journal, projected into the index, sealed in the vault.

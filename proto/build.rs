//! Compiles the .proto files without protoc, and keeps their descriptor for reflection.

use std::path::PathBuf;

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script its folder in the environment"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "songhe/v1/common.proto",
        "songhe/v1/peer.proto",
        "songhe/v1/gateway.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join("songhe.v1.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure()
        .bytes(".songhe.v1.Record.fhir_json")
        .compile_fds(descriptors)?;
    Ok(())
}

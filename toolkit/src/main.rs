//! The binary; what it does is in the library, which the fuzz targets call as well.

use std::process::ExitCode;

fn main() -> ExitCode {
    toolkit::main()
}

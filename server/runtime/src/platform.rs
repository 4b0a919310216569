//! Which wheels fit this machine.

use std::path::Path;

use super::error::RuntimeError;

/// A platform for which every wheel of the runtime exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    LinuxX64,
    LinuxArm64,
    MacArm64,
}

impl Platform {
    /// The platform this program was built for, if its wheels can run here.
    pub(super) fn current() -> Result<Self, RuntimeError> {
        let platform = Self::of(std::env::consts::OS, std::env::consts::ARCH)?;
        match platform.loader() {
            // Without glibc's loader the programs fail with a bare "no such file".
            Some(loader) if !Path::new(loader).exists() => {
                Err(RuntimeError::UnsupportedPlatform { platform: "Linux without glibc".into() })
            }
            _ => Ok(platform),
        }
    }

    fn of(os: &str, arch: &str) -> Result<Self, RuntimeError> {
        match (os, arch) {
            ("linux", "x86_64") => Ok(Self::LinuxX64),
            ("linux", "aarch64") => Ok(Self::LinuxArm64),
            ("macos", "aarch64") => Ok(Self::MacArm64),
            _ => Err(RuntimeError::UnsupportedPlatform { platform: format!("{os} on {arch}") }),
        }
    }

    /// pip's `--platform` tags, of which each wheel has one.
    pub(super) fn pip_tags(self) -> &'static [&'static str] {
        match self {
            Self::LinuxX64 => &["manylinux_2_28_x86_64", "manylinux_2_27_x86_64"],
            Self::LinuxArm64 => &["manylinux_2_28_aarch64", "manylinux_2_27_aarch64"],
            Self::MacArm64 => &["macosx_14_0_arm64", "macosx_11_0_arm64"],
        }
    }

    /// A short name for folder names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LinuxX64 => "linux-x64",
            Self::LinuxArm64 => "linux-arm64",
            Self::MacArm64 => "macos-arm64",
        }
    }

    fn loader(self) -> Option<&'static str> {
        match self {
            Self::LinuxX64 => Some("/lib64/ld-linux-x86-64.so.2"),
            Self::LinuxArm64 => Some("/lib/ld-linux-aarch64.so.1"),
            Self::MacArm64 => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsupported_platform_is_told_how_to_bring_its_own() {
        let error = Platform::of("freebsd", "riscv64").unwrap_err().to_string();
        for word in ["freebsd on riscv64", "DATABASE_URL", "SWITCHY_MODEL_DIR", "ORT_DYLIB_PATH"] {
            assert!(error.contains(word), "{error}");
        }
    }
}

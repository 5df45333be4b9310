//! What the processor can do, asked once.
//!
//! `TRIPLICATE_CPU` masks it: `plain` turns every kernel of this crate off, `avx2` those that need more than AVX2 and
//! the SHA and AES instructions. Results are the same with each; tests and doubters use it to see that.

use std::sync::OnceLock;

/// The variable that masks features.
pub const MASK_VARIABLE: &str = "TRIPLICATE_CPU";

/// What kernels may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// 256-bit integer vectors.
    pub avx2: bool,
    /// SHA-256 rounds as instructions (with SSE4.1 and SSSE3).
    pub sha_ni: bool,
    /// AES rounds on 256-bit vectors (with AVX2).
    pub vaes: bool,
    /// Affine maps over GF(2) on 512-bit vectors of bytes (GFNI with AVX-512F, BW, VL).
    pub gfni_512: bool,
    /// AES rounds on 512-bit vectors (with AVX-512F, BW).
    pub vaes_512: bool,
    /// 52-bit multiply and add on 512-bit vectors (with AVX-512F, VL).
    pub ifma_512: bool,
}

impl Features {
    /// None of them: the plain twins run.
    pub const PLAIN: Self =
        Self { avx2: false, sha_ni: false, vaes: false, gfni_512: false, vaes_512: false, ifma_512: false };

    /// This machine's, as far as the mask lets them through.
    pub fn get() -> Self {
        static FEATURES: OnceLock<Features> = OnceLock::new();
        *FEATURES.get_or_init(|| {
            let mask = std::env::var(MASK_VARIABLE).unwrap_or_default();
            Self::detect().masked(&mask)
        })
    }

    /// This machine's, whatever the mask says.
    #[cfg(target_arch = "x86_64")]
    pub fn detect() -> Self {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2");
        let avx_512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl");
        Self {
            avx2,
            sha_ni: has!("sha") && has!("sse4.1") && has!("ssse3"),
            vaes: avx2 && has!("vaes") && has!("aes"),
            gfni_512: avx_512 && has!("gfni"),
            vaes_512: avx_512 && has!("vaes") && has!("aes"),
            ifma_512: avx_512 && has!("avx512ifma"),
        }
    }

    /// This machine's, whatever the mask says.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn detect() -> Self {
        Self::PLAIN
    }

    fn masked(self, mask: &str) -> Self {
        match mask {
            "plain" => Self::PLAIN,
            "avx2" => Self { gfni_512: false, vaes_512: false, ifma_512: false, ..self },
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_only_take_away() {
        let all = Features { avx2: true, sha_ni: true, vaes: true, gfni_512: true, vaes_512: true, ifma_512: true };
        assert_eq!(all.masked("plain"), Features::PLAIN);
        let avx2 = all.masked("avx2");
        assert!(avx2.avx2 && avx2.sha_ni && avx2.vaes && !avx2.gfni_512 && !avx2.vaes_512 && !avx2.ifma_512);
        assert_eq!(all.masked(""), all);
        assert_eq!(Features::PLAIN.masked("avx2"), Features::PLAIN);
    }
}

//! The checksum behind Redis's files and dumps: CRC-64 with Jones' polynomial, both ways reflected.

const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

const TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

/// A checksum in the making.
#[derive(Debug, Default)]
pub(super) struct Crc(u64);

impl Crc {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let low = (self.0 as u8 ^ byte) as usize;
            self.0 = self.0 >> 8 ^ TABLE.get(low).copied().unwrap_or_default();
        }
    }

    pub(super) fn value(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_the_known_one() {
        let mut checksum = Crc::default();
        checksum.update(b"12345");
        checksum.update(b"6789");
        assert_eq!(checksum.value(), 0xe9c6_d914_c4b8_d9ca);
    }
}

// SPDX-License-Identifier: Apache-2.0

import COpenSSL

/// The arithmetic that SCRAM and the like need, by OpenSSL. OpenSSL refuses none of it but for want
/// of memory or of a working random generator; no safe way on is left then, so it traps.
package struct OpenSSLArithmetic: Sendable {
    private static let digestLength = 32

    package init() {}

    package func sha256(_ message: [UInt8]) -> [UInt8] {
        unsafe digest { output in
            // SAFETY: the array's bytes are read during the call; a digest is 32 bytes.
            unsafe message.withUnsafeBufferPointer { bytes in
                unsafe SHA256(bytes.baseAddress, bytes.count, output) != nil
            }
        }
    }

    package func hmacSHA256(key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        unsafe digest { output in
            // SAFETY: as above. HMAC takes a missing key for "the last one", so it gets a pointer
            // even for the empty key.
            unsafe (key + [0]).withUnsafeBufferPointer { keyBytes in
                unsafe message.withUnsafeBufferPointer { bytes in
                    unsafe HMAC(
                        EVP_sha256(), keyBytes.baseAddress, Int32(key.count), bytes.baseAddress,
                        bytes.count, output, nil) != nil
                }
            }
        }
    }

    /// EVP_Digest. nil: OpenSSL is set up to have no MD5 (FIPS).
    package func md5(_ message: [UInt8]) -> [UInt8]? {
        var isThere = false
        let length = 16
        let digest = unsafe [UInt8](unsafeUninitializedCapacity: length) { buffer, initialized in
            // SAFETY: a digest of MD5 is 16 bytes; the array's bytes are read during the call.
            isThere = unsafe message.withUnsafeBufferPointer { bytes in
                unsafe EVP_Digest(
                    bytes.baseAddress, bytes.count, buffer.baseAddress, nil, EVP_md5(), nil) == 1
            }
            initialized = isThere ? length : 0
        }
        return isThere ? digest : nil
    }

    /// PKCS5_PBKDF2_HMAC: tens of milliseconds for many iterations.
    package func pbkdf2SHA256(
        password: [UInt8], salt: [UInt8], iterations: Int
    ) -> [UInt8] {
        unsafe digest { output in
            // SAFETY: as above; an empty password is read as such by its length.
            unsafe password.withUnsafeBytes { passwordBytes in
                unsafe salt.withUnsafeBufferPointer { saltBytes in
                    unsafe PKCS5_PBKDF2_HMAC(
                        passwordBytes.baseAddress?.assumingMemoryBound(to: CChar.self),
                        Int32(password.count), saltBytes.baseAddress, Int32(salt.count),
                        Int32(iterations),
                        EVP_sha256(), Int32(OpenSSLArithmetic.digestLength), output) == 1
                }
            }
        }
    }

    /// In a time that tells nothing about the contents (CRYPTO_memcmp).
    package func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        if left.isEmpty { return true }
        // SAFETY: both are `count` bytes long.
        return unsafe left.withUnsafeBytes { leftBytes in
            unsafe right.withUnsafeBytes { rightBytes in
                unsafe CRYPTO_memcmp(leftBytes.baseAddress, rightBytes.baseAddress, left.count) == 0
            }
        }
    }

    /// RAND_bytes.
    package func randomBytes(_ count: Int) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            // SAFETY: OpenSSL fills `count` bytes or says that it did not.
            let isFilled = unsafe count == 0 || RAND_bytes(buffer.baseAddress, Int32(count)) == 1
            precondition(isFilled, "OpenSSL has no random bytes")
            initialized = count
        }
    }

    private func digest(_ fill: (UnsafeMutablePointer<UInt8>) -> Bool) -> [UInt8] {
        let length = OpenSSLArithmetic.digestLength
        return unsafe [UInt8](unsafeUninitializedCapacity: length) { buffer, initialized in
            let isFilled = unsafe fill(buffer.baseAddress!)
            precondition(isFilled, "OpenSSL could not compute a digest")
            initialized = length
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Glibc

/// libpq's keywords and their values, in the order in which they are given.
package typealias ConnectionParameters = [(keyword: String, value: String)]

/// What libpq says about parameters that it cannot use.
package struct ConnectionStringError: Error, Equatable, Sendable {
    package let message: String

    package init(message: String) { self.message = message }
}

/// Reads connection strings by libpq's own rules.
package enum ConnectionString {
    /// A `keyword=value` list or a `postgresql://` URI (PQconninfoParse): what the text sets, and no
    /// defaults. The error's message may quote the text; libpq never quotes a password.
    package static func parse(
        _ text: String
    ) throws(ConnectionStringError) -> ConnectionParameters {
        var message: UnsafeMutablePointer<CChar>?
        // SAFETY: libpq gives both results away; they are freed here and nowhere else.
        guard let options = unsafe PQconninfoParse(text, &message) else {
            defer { unsafe PQfreemem(message) }
            throw ConnectionStringError(message: unsafe ConnectionString.text(message))
        }
        defer { unsafe PQconninfoFree(options) }
        return unsafe list(options)
    }

    /// Adds what libpq would add by itself: the service file's lines, the environment (PGHOST and its
    /// like) and the built-in defaults. Reads the service file, so it may block for a short time.
    package static func withDefaults(
        _ parameters: ConnectionParameters
    ) throws(ConnectionStringError) -> ConnectionParameters {
        // libpq expands parameters only on the way to a connection. An impossible gssencmode, which
        // is replaced in any case, makes it stop right after that, before it touches the network.
        let impossible = "pglease-expands-parameters"
        var wanted = parameters.filter { $0.keyword != "gssencmode" }
        wanted.append(("gssencmode", impossible))
        let connection = unsafe wanted.withNullTerminatedArrays { keywords, values in
            unsafe PQconnectStartParams(keywords, values, 0)
        }
        guard let connection = unsafe connection else {
            throw ConnectionStringError(message: "out of memory")
        }
        defer { unsafe PQfinish(connection) }
        let message = unsafe text(PQerrorMessage(connection))
        guard message.contains(impossible), let options = unsafe PQconninfo(connection) else {
            throw ConnectionStringError(message: message)
        }
        defer { unsafe PQconninfoFree(options) }
        return unsafe list(options).map { parameter in
            parameter.keyword == "gssencmode" ? ("gssencmode", "disable") : parameter
        }
    }

    private static func list(
        _ options: UnsafeMutablePointer<PQconninfoOption>
    ) -> ConnectionParameters {
        var parameters: ConnectionParameters = []
        var option = unsafe options
        // SAFETY: libpq ends the array with an entry without a keyword.
        while let keyword = unsafe option.pointee.keyword {
            if let value = unsafe option.pointee.val {
                unsafe parameters.append((String(cString: keyword), String(cString: value)))
            }
            unsafe option += 1
        }
        return parameters
    }

    static func text(_ message: UnsafePointer<CChar>?) -> String {
        guard let message = unsafe message else { return "out of memory" }
        return unsafe trimmed(String(cString: message))
    }

    static func trimmed(_ text: String) -> String {
        var text = Substring(text)
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }
}

extension ConnectionParameters {
    /// The last value that is given for a keyword: the one that libpq takes. An empty value is none.
    package func value(of keyword: String) -> String? {
        last { $0.keyword == keyword && !$0.value.isEmpty }?.value
    }

    /// Both arrays as C has them, for the time of the call; with this password, if there is one.
    func withNullTerminatedArrays<Result>(
        password: [UInt8]? = nil,
        _ body: (UnsafePointer<UnsafePointer<CChar>?>, UnsafePointer<UnsafePointer<CChar>?>) ->
            Result
    ) -> Result {
        // SAFETY: the copies live until the call is over, and nobody keeps them.
        var keywords = unsafe map { unsafe UnsafePointer(strdup($0.keyword)) }
        var values = unsafe map { unsafe UnsafePointer(strdup($0.value)) }
        if let password, !password.isEmpty {
            unsafe keywords.append(UnsafePointer(strdup("password")))
            // SAFETY: strndup copies at most `count` bytes of the array and ends the copy with a NUL.
            unsafe values.append(
                password.withUnsafeBytes { bytes in
                    unsafe UnsafePointer(
                        strndup(
                            bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count))
                })
        }
        defer {
            for index in unsafe keywords.indices {
                unsafe free(UnsafeMutablePointer(mutating: keywords[index]))
                unsafe free(UnsafeMutablePointer(mutating: values[index]))
            }
        }
        unsafe keywords.append(nil)
        unsafe values.append(nil)
        return unsafe body(keywords, values)
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The page at `/`: one file, embedded, that reads `stats.json`.
package enum StatusPage {
    package static var response: HTTPResponse {
        var response = HTTPResponse(
            contentType: "text/html; charset=utf-8", body: PackageResources.status_html)
        response.headers = [("Content-Security-Policy", contentSecurityPolicy)]
        return response
    }

    // What the page's own style and script are, byte by byte: nothing else runs, whatever a name in the
    // figures holds. `test_status_page.py` says the right values when the page has changed.
    private static let style = "sha256-ookcQA2CjcwT8jRw2SJ4VEfiL9vcFO5Gt9odydVE2Xo="
    private static let script = "sha256-c/xEfD/Duivu4FT2A9oaDXKXBcJophYZX+/yChepp9M="

    /// Nothing is loaded from elsewhere, and nothing but the figures from here.
    package static let contentSecurityPolicy =
        "default-src 'none'; script-src '\(script)'; style-src '\(style)'; img-src data:; "
        + "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

/// The page at `/`: one file, embedded, that reads `stats.json`.
package enum StatusPage {
    package static var response: HTTPResponse {
        var response = HTTPResponse(
            contentType: "text/html; charset=utf-8", body: PackageResources.status_html)
        response.headers = [("Content-Security-Policy", contentSecurityPolicy)]
        return response
    }

    /// Nothing is loaded from elsewhere, and nothing but the figures from here.
    package static let contentSecurityPolicy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        + "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

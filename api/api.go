// Package api has the API's OpenAPI document. The API itself, as messages, clients and servers of gRPC, is the package
// rollcall/v1 below it.
package api

import _ "embed"

//go:embed openapi.json
var openAPI string

// OpenAPI returns the OpenAPI document of the HTTP API: JSON, the same for every server of this version.
func OpenAPI() string { return openAPI }

package httpapi

import (
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

// refuse answers with an error that is found here and not by the gRPC server.
func refuse(w http.ResponseWriter, httpStatus int, code codes.Code, message string) {
	writeStatus(w, httpStatus, status.New(code, message))
}

// notAllowed answers a request whose path is for other methods.
func notAllowed(w http.ResponseWriter, methods []string) {
	w.Header().Set("Allow", strings.Join(methods, ", "))
	refuse(w, http.StatusMethodNotAllowed, codes.Unimplemented, "this path is for "+strings.Join(methods, ", "))
}

// fail answers with an error of the gRPC server.
func fail(w http.ResponseWriter, err error) {
	s := status.Convert(err)
	writeStatus(w, runtime.HTTPStatusFromCode(s.Code()), s)
}

// writeStatus answers with a google.rpc.Status.
func writeStatus(w http.ResponseWriter, httpStatus int, s *status.Status) {
	if s.Code() == codes.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpStatus)
	_, _ = w.Write(append(encodeStatus(s), '\n'))
}

// encodeStatus never fails: details of a type that this program does not know are left out.
func encodeStatus(s *status.Status) []byte {
	text, err := protojson.Marshal(s.Proto())
	if err == nil {
		return text
	}
	bare := s.Proto()
	bare.Details = nil
	if text, err = protojson.Marshal(bare); err != nil { // the message is not UTF-8
		text, _ = protojson.Marshal(status.New(s.Code(), s.Code().String()).Proto())
	}
	return text
}

// Makes the calls that it reads as lines of JSON: grpc-go TARGET [CA]. foreign-clients.ts describes them.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/golang/protobuf/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type command struct {
	ID        int
	Cancel    bool
	Path      string
	Kind      string
	Requests  [][]byte
	Metadata  map[string]string
	TimeoutMs int
	Gzip      bool
}

type outcome struct {
	ID       int               `json:"id"`
	Headers  map[string]string `json:"headers"`
	Messages [][]byte          `json:"messages"`
	Trailers map[string]string `json:"trailers"`
	Code     int               `json:"code"`
	Details  string            `json:"details"`
}

// Passes messages on without decoding them.
type raw struct{}

func (raw) Marshal(message interface{}) ([]byte, error) { return message.([]byte), nil }
func (raw) Unmarshal(data []byte, message interface{}) error {
	*message.(*[]byte) = append([]byte{}, data...)
	return nil
}
func (raw) Name() string { return "proto" }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Returns the first value of each name, binary values in base64.
func fields(md metadata.MD) map[string]string {
	found := map[string]string{}
	for name, values := range md {
		found[name] = values[0]
		if strings.HasSuffix(name, "-bin") {
			found[name] = base64.StdEncoding.EncodeToString([]byte(values[0]))
		}
	}
	return found
}

func call(ctx context.Context, connection *grpc.ClientConn, asked command) outcome {
	md := metadata.New(nil)
	for name, value := range asked.Metadata {
		if strings.HasSuffix(name, "-bin") {
			bytes, err := base64.StdEncoding.DecodeString(value)
			must(err)
			value = string(bytes)
		}
		md.Set(name, value)
	}
	ctx = metadata.NewOutgoingContext(ctx, md)
	if asked.TimeoutMs > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(asked.TimeoutMs)*time.Millisecond)
		defer cancel()
	}
	options := []grpc.CallOption{grpc.ForceCodec(raw{})}
	if asked.Gzip {
		options = append(options, grpc.UseCompressor("gzip"))
	}
	result := outcome{ID: asked.ID, Messages: [][]byte{}}
	description := grpc.StreamDesc{
		ClientStreams: asked.Kind == "clientStream" || asked.Kind == "bidi",
		ServerStreams: asked.Kind == "serverStream" || asked.Kind == "bidi",
	}
	stream, err := connection.NewStream(ctx, &description, asked.Path, options...)
	if err == nil {
		for _, request := range asked.Requests {
			if stream.SendMsg(request) != nil {
				break
			}
		}
		stream.CloseSend()
		for {
			var message []byte
			if err = stream.RecvMsg(&message); err != nil {
				break
			}
			result.Messages = append(result.Messages, message)
			if !description.ServerStreams {
				break
			}
		}
		headers, _ := stream.Header()
		result.Headers, result.Trailers = fields(headers), fields(stream.Trailer())
	}
	if err != nil && err.Error() != "EOF" {
		found := status.Convert(err)
		result.Code, result.Details = int(found.Code()), found.Message()
		if len(found.Details()) > 0 {
			// Not among the trailers.
			bytes, err := proto.Marshal(found.Proto())
			must(err)
			result.Trailers["grpc-status-details-bin"] = base64.StdEncoding.EncodeToString(bytes)
		}
	}
	return result
}

func main() {
	security := grpc.WithInsecure()
	if len(os.Args) > 2 {
		tls, err := credentials.NewClientTLSFromFile(os.Args[2], "")
		must(err)
		security = grpc.WithTransportCredentials(tls)
	}
	connection, err := grpc.Dial(os.Args[1], security)
	must(err)
	commands, outcomes := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	cancels := map[int]context.CancelFunc{}
	var lock sync.Mutex
	for {
		var asked command
		if commands.Decode(&asked) != nil {
			return
		}
		if asked.Cancel {
			cancels[asked.ID]()
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancels[asked.ID] = cancel
		go func() {
			result := call(ctx, connection, asked)
			lock.Lock()
			defer lock.Unlock()
			must(outcomes.Encode(result))
		}()
	}
}

// Makes 12 unary calls one after another, and then CALLS at once. grpc-go retries them as SERVICE_CONFIG requires:
//
//	overload-grpc-go TARGET CALLS TIMEOUT_SECONDS SERVICE_CONFIG
//
// Writes a line of JSON with the number of calls per status code: {"OK": N, "RESOURCE_EXHAUSTED": N}.
package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const warmUp = 12

var names = map[codes.Code]string{codes.OK: "OK", codes.ResourceExhausted: "RESOURCE_EXHAUSTED", codes.DeadlineExceeded: "DEADLINE_EXCEEDED"}

// raw is a codec that passes messages as bytes.
type raw struct{}

func (raw) Marshal(message interface{}) ([]byte, error) { return *message.(*[]byte), nil }
func (raw) Unmarshal(data []byte, message interface{}) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	target, serviceConfig := os.Args[1], os.Args[4]
	count, err := strconv.Atoi(os.Args[2])
	must(err)
	seconds, err := strconv.ParseFloat(os.Args[3], 64)
	must(err)
	connection, err := grpc.Dial(target, grpc.WithInsecure(),
		grpc.WithDefaultServiceConfig(serviceConfig), grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	must(err)
	defer connection.Close()
	request := []byte("\x0a\x011") // GetOrderRequest { id }
	get := func() codes.Code {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds*float64(time.Second)))
		defer cancel()
		var response []byte
		return status.Code(connection.Invoke(ctx, "/orders.v1.Orders/Get", &request, &response))
	}
	counts := map[string]int{}
	var lock sync.Mutex
	note := func(code codes.Code) {
		lock.Lock()
		defer lock.Unlock()
		name, known := names[code]
		if !known {
			name = code.String()
		}
		counts[name]++
	}
	for i := 0; i < warmUp; i++ {
		note(get())
	}
	var ended sync.WaitGroup
	for i := 0; i < count; i++ {
		ended.Add(1)
		go func() {
			defer ended.Done()
			note(get())
		}()
	}
	ended.Wait()
	must(json.NewEncoder(os.Stdout).Encode(counts))
}

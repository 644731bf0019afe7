// A grpc-go server of testing.v1.Echo on a Unix socket: echo-grpc-go path. peers.ts describes its responses.
package main

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Passes messages on without decoding them.
type bytesCodec struct{}

func (bytesCodec) Marshal(value interface{}) ([]byte, error) { return *(value.(*[]byte)), nil }
func (bytesCodec) Unmarshal(data []byte, value interface{}) error {
	*(value.(*[]byte)) = data
	return nil
}
func (bytesCodec) String() string { return "proto" }

// Returns the field `number` of a message that has no other fields.
func number(message []byte) int {
	value := 0
	for at := 1; at < len(message); at++ {
		value |= int(message[at]&0x7f) << (7 * (at - 1))
	}
	return value
}

func echo(_ interface{}, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	received, _ := metadata.FromIncomingContext(stream.Context())
	if len(received.Get("x-status")) > 0 {
		return status.Error(codes.NotFound, "no such é")
	}
	if len(received.Get("x-wait")) > 0 {
		<-stream.Context().Done()
		return nil
	}
	stream.SendHeader(metadata.Pairs("x-echo", strings.Join(received.Get("x-echo"), "")))
	for count := 0; ; count++ {
		var request []byte
		if err := stream.RecvMsg(&request); err == io.EOF {
			if strings.HasSuffix(method, "/ClientStream") {
				return stream.SendMsg(&[]byte{0x10, byte(count)})
			}
			return nil
		} else if err != nil {
			return err
		}
		if strings.HasSuffix(method, "/ServerStream") {
			response := []byte{0x10, 1}
			if size, err := strconv.Atoi(strings.Join(received.Get("x-size"), "")); err == nil {
				// The field `payload`.
				response = append(binary.AppendUvarint([]byte{0x1a}, uint64(size)), make([]byte, size)...)
			}
			for sent := 0; sent < number(request); sent++ {
				if err := stream.SendMsg(&response); err != nil {
					return err
				}
			}
		} else if !strings.HasSuffix(method, "/ClientStream") {
			if err := stream.SendMsg(&request); err != nil {
				return err
			}
		}
	}
}

func main() {
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(grpc.CustomCodec(bytesCodec{}), grpc.UnknownServiceHandler(echo))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		time.AfterFunc(time.Second, server.Stop)
		server.GracefulStop()
	}()
	server.Serve(listener)
}

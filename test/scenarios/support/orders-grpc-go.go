// A grpc-go server of orders.v1.Orders in its own process: orders-grpc-go - '{ "port": 0, … }'. upstream.ts describes its arguments,
// responses, and log. Unlike orders-grpc-js.mjs, this server serves only Get, Create, and Watch, and only in plaintext; its queue is either
// unlimited or, if queueMs is negative, always full. Like a child of Node, it exchanges lines of JSON over the socket in NODE_CHANNEL_FD.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

var options struct {
	Host          string
	Port          int
	Standby       bool
	Log           string
	EventsEveryMs int
	DrainMs       int64
	ServerOptions map[string]int64
}

// Settings that change while the server runs.
type changeable struct {
	DelayMs int
	QueueMs int
	Health  string
}

var current changeable
var changed = make(chan struct{})
var lock sync.Mutex

// Returns the current settings, and a channel that is closed at their next change.
func getSettings() (changeable, <-chan struct{}) {
	lock.Lock()
	defer lock.Unlock()
	return current, changed
}

func change(options []byte) {
	lock.Lock()
	defer lock.Unlock()
	check(json.Unmarshal(options, &current))
	close(changed)
	changed = make(chan struct{})
}

var log *os.File
var sequence int64
var ending = make(chan struct{})

var codesByName = map[string]codes.Code{
	"UNAVAILABLE": codes.Unavailable, "NOT_FOUND": codes.NotFound, "ABORTED": codes.Aborted, "INTERNAL": codes.Internal,
}

// Passes messages as bytes.
type bytesCodec struct{}

func (bytesCodec) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (bytesCodec) Name() string { return "proto" }

func text(out []byte, field int, value string) []byte {
	return append(number(out, field<<3|2, uint64(len(value))), value...)
}

func number(out []byte, tag int, value uint64) []byte {
	var buffer [20]byte
	size := binary.PutUvarint(buffer[:], uint64(tag))
	size += binary.PutUvarint(buffer[size:], value)
	return append(out, buffer[:size]...)
}

// Returns field 1, as text or as a number. It must be the first field of the request.
func firstField(data []byte) (string, uint64) {
	if len(data) == 0 {
		return "", 0
	}
	value, size := binary.Uvarint(data[1:])
	if data[0] != 1<<3|2 {
		return "", value
	}
	start := 1 + size
	return string(data[start : start+int(value)]), 0
}

func write(ctx context.Context, what string, key string) int {
	previous := 0
	if md, ok := metadata.FromIncomingContext(ctx); ok && len(md.Get("grpc-previous-rpc-attempts")) > 0 {
		previous, _ = strconv.Atoi(md.Get("grpc-previous-rpc-attempts")[0])
	}
	address := "unknown"
	if from, ok := peer.FromContext(ctx); ok {
		address = from.Addr.String()
	}
	fmt.Fprintf(log, "%d %s %s %d %s\n", time.Now().UnixNano()/1e6, what, key, previous, address)
	return previous
}

func unary(what string) grpc.MethodDesc {
	handle := func(_ interface{}, ctx context.Context, read func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
		var request []byte
		if err := read(&request); err != nil {
			return nil, err
		}
		key, _ := firstField(request)
		previous := write(ctx, what, key)
		parts := append(strings.Split(key, "/"), "", "")
		times, err := strconv.Atoi(parts[2])
		fails := parts[1] != "" && (err != nil || previous < times)
		settings, _ := getSettings()
		if settings.QueueMs < 0 {
			return nil, status.Error(codes.Unavailable, "the queue is full")
		}
		delay := time.After(time.Duration(settings.DelayMs) * time.Millisecond)
		if fails && parts[1] == "NEVER" {
			delay = nil
		}
		select {
		case <-delay:
		case <-ctx.Done():
			write(ctx, "ended", what)
			return nil, ctx.Err()
		}
		if fails {
			code, listed := codesByName[parts[1]]
			if !listed {
				return nil, status.Errorf(codes.Unknown, "codesByName: expected a code, got %s", parts[1])
			}
			return nil, status.Errorf(code, "requested by %s", key)
		}
		order := text(text(text(nil, 1, key), 2, key), 3, strconv.Itoa(os.Getpid()))
		order = number(order, 5<<3, uint64(atomic.AddInt64(&sequence, 1)))
		return &order, nil
	}
	return grpc.MethodDesc{MethodName: what, Handler: handle}
}

func watch(_ interface{}, stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	_, at := firstField(request)
	write(stream.Context(), "Watch", strconv.FormatUint(at, 10))
	for {
		select {
		case <-ending:
			return nil
		case <-stream.Context().Done():
			write(stream.Context(), "ended", "Watch")
			return stream.Context().Err()
		case <-time.After(time.Duration(options.EventsEveryMs) * time.Millisecond):
		}
		at++
		event := text(number(nil, 1<<3, at), 2, string(text(nil, 1, strconv.FormatUint(at, 10))))
		if err := stream.SendMsg(&event); err != nil {
			return err
		}
	}
}

var servingStatuses = map[string]uint64{"SERVING": 1, "NOT_SERVING": 2}

// Sends the current status, and each change.
func watchHealth(_ interface{}, stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	for {
		settings, changed := getSettings()
		response := number(nil, 1<<3, servingStatuses[settings.Health])
		if err := stream.SendMsg(&response); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ending:
			return nil
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// Logs each Watch of the health service, even if the server has no health service.
func logHealth(ctx context.Context, info *tap.Info) (context.Context, error) {
	if info.FullMethodName == "/grpc.health.v1.Health/Watch" {
		write(ctx, "Health", "-")
	}
	return ctx, nil
}

func main() {
	check(json.Unmarshal([]byte(os.Args[2]), &options))
	change([]byte(os.Args[2]))
	var err error
	log, err = os.OpenFile(options.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	check(err)
	fd, err := strconv.Atoi(os.Getenv("NODE_CHANNEL_FD"))
	check(err)
	parent := os.NewFile(uintptr(fd), "parent")
	lines := bufio.NewReader(parent)
	send := func(key string, value int64) { fmt.Fprintf(parent, "{%q:%d}\n", key, value) }
	if options.Standby {
		send("listening", int64(options.Port))
		line, err := lines.ReadBytes('\n')
		check(err)
		var message struct{ ListenAt int64 }
		check(json.Unmarshal(line, &message))
		time.Sleep(time.Until(time.Unix(0, message.ListenAt*1e6)))
	}
	encoding.RegisterCodec(bytesCodec{})
	age := keepalive.ServerParameters{
		MaxConnectionAge:      time.Duration(options.ServerOptions["grpc.max_connection_age_ms"]) * time.Millisecond,
		MaxConnectionAgeGrace: time.Duration(options.ServerOptions["grpc.max_connection_age_grace_ms"]) * time.Millisecond,
	}
	serverOptions := []grpc.ServerOption{grpc.KeepaliveParams(age), grpc.InTapHandle(logHealth)}
	if streams := options.ServerOptions["grpc.max_concurrent_streams"]; streams > 0 {
		serverOptions = append(serverOptions, grpc.MaxConcurrentStreams(uint32(streams)))
	}
	server := grpc.NewServer(serverOptions...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "orders.v1.Orders",
		HandlerType: (*interface{})(nil),
		Methods:     []grpc.MethodDesc{unary("Get"), unary("Create")},
		Streams:     []grpc.StreamDesc{{StreamName: "Watch", Handler: watch, ServerStreams: true}},
	}, struct{}{})
	if current.Health != "" {
		server.RegisterService(&grpc.ServiceDesc{
			ServiceName: "grpc.health.v1.Health",
			HandlerType: (*interface{})(nil),
			Streams:     []grpc.StreamDesc{{StreamName: "Watch", Handler: watchHealth, ServerStreams: true}},
		}, struct{}{})
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", options.Host, options.Port))
	check(err)
	send("listening", int64(listener.Addr().(*net.TCPAddr).Port))
	send("boundAt", time.Now().UnixNano()/1e6)
	go func() {
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				// The parent process has ended.
				os.Exit(0)
			}
			change(line)
		}
	}()
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		close(ending)
		time.AfterFunc(time.Duration(options.DrainMs)*time.Millisecond, server.Stop)
		server.GracefulStop()
		os.Exit(0)
	}()
	check(server.Serve(listener))
	select {}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

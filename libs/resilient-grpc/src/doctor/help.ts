/** The output of `--help`. */
export const HELP = `Usage: nestjs-resilient-grpc doctor <target> [options]

Diagnoses why a gRPC client cannot reach its server: name resolution, connection, TLS, HTTP/2, health.
<target> is the url of the client: orders:50051, dns:///orders:50051, ipv4:10.0.0.7:50051, unix:/run/orders.sock

  --tls                    use TLS with the system's authorities, like tls: {} in a client
  --ca FILE                use TLS with this authority
  --cert FILE --key FILE   client certificate and key (mutual TLS)
  --server-name NAME       expected name in the certificate, if it differs from the target's host
  --service NAME           full name of a service for the health check, such as orders.v1.Orders
  --keepalive TIME         check whether the server accepts HTTP/2 pings at this interval; takes five intervals
  --timeout TIME           time limit for all checks except keepalive (20s)
  --connect-timeout TIME   time limit per connection (5s)

These do not require a target:
  --service-config FILE    check a service config; names are compared with --proto or reflection
  --proto FILE             .proto file that defines the methods
  --drain TIME             drain.timeoutMs of the application (10s)
  --readiness-delay TIME   drain.readinessDelayMs (0s)
  --grace-period TIME      terminationGracePeriodSeconds of the pod (30s)
  --pre-stop TIME          duration of the preStop hook (0s)

  --json                   print one JSON object on one line
  --help                   print this help

TIME is in seconds: 10s, 0.5s. Exit code: 0 if no check failed, 1 if a check failed, 2 for invalid usage.`;

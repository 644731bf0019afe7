/** The output of `--help`. */
export const HELP = `Usage: nestjs-resilient-grpc doctor <target> [options]

Tells why a gRPC client does not reach its server: name, connection, TLS, HTTP/2, health.
<target> is the url of the client: orders:50051, dns:///orders:50051, ipv4:10.0.0.7:50051, unix:/run/orders.sock

  --tls                    TLS with the authorities of the system, as tls: {} of a client
  --ca FILE                TLS with this authority
  --cert FILE --key FILE   the client's own certificate (mutual TLS)
  --server-name NAME       name that the certificate must bear, where it is not the target's host
  --service NAME           full name of a service to ask health for, as orders.v1.Orders
  --keepalive TIME         whether the server bears HTTP/2 pings at this pace; takes five times as long
  --timeout TIME           all checks together, but for keepalive (20s)
  --connect-timeout TIME   one connection (5s)

Without a target, too:
  --service-config FILE    checks a service config; its names against --proto, or what reflection tells
  --proto FILE             the .proto file of the methods
  --drain TIME             drain.timeoutMs of a shutdown (10s)
  --readiness-delay TIME   drain.readinessDelayMs (0s)
  --grace-period TIME      terminationGracePeriodSeconds of the pod (30s)
  --pre-stop TIME          what its preStop hook takes (0s)

  --json                   one object on one line
  --help

TIME is in seconds: 10s, 0.5s. Exit code 0: nothing failed; 1: something did; 2: wrong usage.`;

// grpc-js reads it when it is loaded: import this before it. Then `dns://ip:port/name` asks that name server.
process.env.GRPC_NODE_USE_ALTERNATIVE_RESOLVER = 'true';

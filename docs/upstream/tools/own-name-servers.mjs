// grpc-js reads this when it is loaded, so import this module first. Then `dns://ip:port/name` queries that name server.
process.env.GRPC_NODE_USE_ALTERNATIVE_RESOLVER = 'true';

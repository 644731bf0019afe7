// grpc-js reads this variable when it is loaded, so import this module first. A target `dns://ip:port/name` then queries that name server.
process.env.GRPC_NODE_USE_ALTERNATIVE_RESOLVER = 'true';

// grpc-js reads this variable only when grpc-js is loaded, so import this module first. For a target `dns://ip:port/name`, grpc-js then
// queries the name server at ip:port.
process.env.GRPC_NODE_USE_ALTERNATIVE_RESOLVER = 'true';

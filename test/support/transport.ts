/** True if the clients of this process use the library's own HTTP/2 transport instead of `node:http2`. */
export const ON_OWN_TRANSPORT = process.env['NESTJS_RESILIENT_GRPC_TRANSPORT'] === 'socket';

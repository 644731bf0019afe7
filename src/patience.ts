/**
 * Factor by which a busy machine is given more time: drain times, the outage grace of our client and the time until a process is killed
 * are longer by it, and the rate of calls is lower. 1, or what the environment variable `DEMO_PATIENCE` has: tests set it.
 */
export const PATIENCE = Number(process.env['DEMO_PATIENCE'] ?? 1);

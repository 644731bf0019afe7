/** Version of the package, as its meter and its tracer bear it. */
export const VERSION = '0.1.0';

/** The package version, reported by the meter and the tracer. */
export const VERSION = '0.1.0';

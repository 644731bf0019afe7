/** Trailer with the metrics of a call (gRFC A51). */
export const METRICS_KEY = 'endpoint-load-metrics-bin';

// Field numbers of xds.data.orca.v3.OrcaLoadReport.
const NUMBERS = { cpu: 1, memory: 2, queries: 6, errors: 7, application: 9 } as const;
const MAPS = { requestCost: 4, utilization: 5, named: 8 } as const;

/** Metrics of one call, which a handler records. Has the methods of grpc-js's recorder, which grpc-js does not export. */
export class CallMetrics {
  private readonly numbers = new Map<number, number>();
  private readonly maps = new Map<number, Map<string, number>>();

  recordRequestCostMetric(name: string, value: number): void {
    this.add(MAPS.requestCost, name, value);
  }

  recordUtilizationMetric(name: string, value: number): void {
    this.add(MAPS.utilization, name, value);
  }

  recordNamedMetric(name: string, value: number): void {
    this.add(MAPS.named, name, value);
  }

  recordCPUUtilizationMetric(value: number): void {
    this.numbers.set(NUMBERS.cpu, value);
  }

  recordMemoryUtilizationMetric(value: number): void {
    this.numbers.set(NUMBERS.memory, value);
  }

  recordApplicationUtilizationMetric(value: number): void {
    this.numbers.set(NUMBERS.application, value);
  }

  recordQpsMetric(value: number): void {
    this.numbers.set(NUMBERS.queries, value);
  }

  recordEpsMetric(value: number): void {
    this.numbers.set(NUMBERS.errors, value);
  }

  /** Returns the metrics as an OrcaLoadReport. */
  serialize(): Buffer {
    const parts = [...this.numbers].map(([field, value]) => double(field, value));
    for (const [field, values] of this.maps)
      for (const [name, value] of values)
        parts.push(delimited(field, Buffer.concat([delimited(1, Buffer.from(name)), double(2, value)])));
    return Buffer.concat(parts);
  }

  private add(field: number, name: string, value: number): void {
    const values = this.maps.get(field) ?? new Map<string, number>();
    this.maps.set(field, values.set(name, value));
  }
}

function double(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(9);
  bytes[0] = (field << 3) | 1;
  bytes.writeDoubleLE(value, 1);
  return bytes;
}

function delimited(field: number, content: Buffer): Buffer {
  const length: number[] = [];
  let left = content.length;
  for (; left > 0x7f; left >>>= 7) length.push(0x80 | (left & 0x7f));
  return Buffer.concat([Buffer.from([(field << 3) | 2, ...length, left]), content]);
}

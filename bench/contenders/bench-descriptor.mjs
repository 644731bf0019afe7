import { fileDesc } from '@bufbuild/protobuf/codegenv2';

/**
 * The file descriptor of bench.proto in base64, in the form that protoc-gen-es generates. Created from the descriptor of proto-loader:
 *   node -p "require('@grpc/proto-loader').loadSync('bench/bench.proto')['bench.Order'].fileDescriptorProtos[0].toString('base64')"
 */
export const BENCH_FILE = fileDesc(
  'CgtiZW5jaC5wcm90bxIFYmVuY2giGAoKR2V0UmVxdWVzdBIKCgJpZBgBIAEoCSJHCgVPcmRlchIKCgJpZBgBIAEoCRIQCghjdXN0b21lchgCIAEoCRISCgp0b3RhbENlbnRzGAMgASgFEgwKBG5vdGUYBCABKAkiOQoMV2F0Y2hSZXF1ZXN0Eg0KBWNvdW50GAEgASgFEgwKBHNpemUYAiABKAUSDAoEc3RheRgDIAEoCCIlCgVDaHVuaxIMCgRkYXRhGAEgASgMEg4KBm51bWJlchgCIAEoBSIZCghSZWNlaXZlZBINCgVjb3VudBgBIAEoBTLbAQoFQmVuY2gSJgoDR2V0EhEuYmVuY2guR2V0UmVxdWVzdBoMLmJlbmNoLk9yZGVyEiwKBVdhdGNoEhMuYmVuY2guV2F0Y2hSZXF1ZXN0GgwuYmVuY2guQ2h1bmswARIpCgZVcGxvYWQSDC5iZW5jaC5DaHVuaxoPLmJlbmNoLlJlY2VpdmVkKAESKQoEVGFsaxIMLmJlbmNoLkNodW5rGg8uYmVuY2guUmVjZWl2ZWQoATABEiYKBEVjaG8SDC5iZW5jaC5DaHVuaxoMLmJlbmNoLkNodW5rKAEwAWIGcHJvdG8z',
);

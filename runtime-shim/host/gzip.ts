// Whole gzip members at once through libdeflate (Debian: libdeflate0), which takes half the processor time of zlib.
// It is an optional library: without it layers are inflated by node:zlib.
import koffi from 'koffi';
import type { GzipInflater } from '../../oci/layers/inflate-gzip.ts';

/** Results of libdeflate.h; everything else says that the data is damaged. */
const SUCCESS = 0;
const INSUFFICIENT_SPACE = 3;

/** Binds the library; undefined where it is not installed. The inflater is for one thread. */
export function createGzipInflater(): GzipInflater | undefined {
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load('libdeflate.so.0');
  } catch {
    // Not installed, which is all that loading a library by its name can say.
    return undefined;
  }
  const decompressor = library.func('void *libdeflate_alloc_decompressor()')() as unknown;
  if (decompressor === null) return undefined;
  const decompress = library.func(
    'int libdeflate_gzip_decompress_ex(void *decompressor, const uint8_t *in, size_t inSize, uint8_t *out, ' +
      'size_t outSize, _Out_ size_t *read, _Out_ size_t *written)',
  );
  return (input, output) => {
    const read = [0];
    const written = [0];
    const result = decompress(decompressor, input, input.length, output, output.length, read, written) as number;
    if (result === INSUFFICIENT_SPACE) return 'too-large';
    if (result !== SUCCESS) return 'damaged';
    return { read: Number(read[0]), written: Number(written[0]) };
  };
}

// Bad input that aims at files once more, with runc where `auto` would have taken crun.
process.env['WINDLASS_OCI_RUNTIME'] = 'runc';
await import('./security-files.test.ts');

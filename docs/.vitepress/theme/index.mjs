// The site asks no other host for anything; fonts are the reader's own.
export { default } from 'vitepress/theme-without-fonts';
import './wrapped-blocks.css';

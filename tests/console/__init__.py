"""The console in Chromium, and its pages without one."""
